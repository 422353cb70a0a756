"""A model trained with `hvd.DistributedOptimizer` and saved takes the same next step where a new process loads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import rank_environment


def test_a_new_process_takes_the_same_next_step(tmp_path):
    """Both are a job of one rank, for which Horovod needs no launcher."""
    for action, last in (
        ("save", "saved 12 models of 6 optimizers"),
        ("load", "same next step 39"),
    ):
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("saved_models.py")), action],
            env=rank_environment(), cwd=tmp_path, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert last in done.stdout
