"""A model trained with `hvd.DistributedOptimizer` and saved takes the same next step where a new process loads it."""

from __future__ import annotations

from pathlib import Path


def test_a_new_process_takes_the_same_next_step(tmp_path, run_command):
    """Both are a job of one rank, for which Horovod needs no launcher."""
    for action, last in (
        ("save", "saved 12 models of 6 optimizers"),
        ("load", "same next step 39"),
    ):
        program = Path(__file__).with_name("saved_models.py")
        done = run_command([str(program), action], tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        assert last in done.stdout
