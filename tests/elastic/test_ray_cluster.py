"""The elastic job in Ray's actors: it grows as it does without Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, rank_environment
from tests.elastic import ray_growth
from tests.ranks.runs import rows

pytest.importorskip("ray", reason="the extra `ray` is not installed")


def test_a_job_grows_on_a_ray_of_this_machine(tmp_path):
    log, program = tmp_path / "log", Path(ray_growth.__file__)
    launcher = [sys.executable, ROOT / "launch" / "ray_cluster.py", "--max-ranks", "2"]
    words = [*launcher, "--standby", "0", "--log", log, "--", sys.executable, program, tmp_path]
    ended = subprocess.run(
        words, env=rank_environment(), capture_output=True, text=True, timeout=500
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr + log.read_text()
    assert [row["ranks"] for row in rows(tmp_path / "run")] == ["1", "1", "2", "2"]
    model = ray_growth.compiled()
    model.fit(ray_growth.X, ray_growth.X[:, :1], **ray_growth.FIT)
    np.testing.assert_allclose(np.load(tmp_path / "weights.npy"), model.get_weights()[0], atol=2e-6)
