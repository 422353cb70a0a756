"""launch/relaunch.sh: which runs are started again and with how many ranks; a real one grows to the same result."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import tflbt.train
from tests.conftest import rank_environment
from tests.ranks.runs import rows
from tflbt import recipes

ROOT = Path(__file__).resolve().parents[2]
FAKE = ROOT / "tests" / "launch" / "fake_slurm"


def slurm(run: Path, starts: str, *options: str, **environment: str):
    """Runs the job's script, whose starts end as said; returns the words of each command, and the status."""
    log = Path(f"{run}.log")
    log.unlink(missing_ok=True)
    (run.parent / "starts").write_text(starts.replace("; ", "\n") + "\n")
    done = subprocess.run(
        ["bash", ROOT / "launch" / "slurm.sbatch", *options, "--config=a.py", f"--workdir={run}"],
        env={
            "PATH": f"{FAKE}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "RUN": str(run),
            "STARTS": str(run.parent / "starts"), **environment,
        },
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    lines = log.read_text().splitlines()
    return [_short(line) for line in lines], done.returncode


def _short(line: str) -> str:
    """Of an srun its numbers of nodes and tasks, and whether it resumes."""
    if line.startswith("scontrol"):
        return line
    words = dict(word.partition("=")[::2] for word in line.split())
    resumes = " --resume" if line.endswith(" --resume") else ""
    return f"{words['--nodes']}x{words['--ntasks-per-node']}:{words['--ntasks']}{resumes}"


@pytest.mark.parametrize(
    ("starts", "options", "expected", "status"),
    [
        ("0", [], ["2x4:8"], 0),
        ("5", ["--elastic"], ["1x1:1"], 5),  # it failed: not again
        ("1 2 resize; 76 8 resize; 0", ["--elastic"], ["1x1:1", "1x2:2 --resume", "2x4:8 --resume"], 0),
        ("76 99 resize; 0", ["--elastic", "--ranks", "3"], ["1x3:3", "2x4:8 --resume"], 0),
        ("76; 0", [], ["2x4:8", "2x4:8 --resume"], 0),  # without a file as many as before
        ("76 3 preempted", [], ["2x4:8", "scontrol requeue 7"], 0),
        ("1; 1; 1", ["--restarts", "2"], ["2x4:8"], 1),  # no checkpoint to go on from
    ],
)  # fmt: skip
def test_a_run_is_started_again_where_it_asks_for_that(starts, options, expected, status, tmp_path):
    assert slurm(tmp_path / "run", starts, *options) == (expected, status)


def test_a_job_that_was_requeued_goes_on_and_failures_are_counted(tmp_path):
    run = tmp_path / "run"
    slurm(run, "76 3 preempted")
    assert (run / "checkpoints" / "next_ranks").read_text() == "3 preempted\n"
    (run / "checkpoints" / "epoch_00001").mkdir()
    found = slurm(run, "1; 9; 4", "--restarts", "2", SLURM_RESTART_COUNT="1")
    assert found == (3 * ["1x3:3 --resume"], 4)
    assert not (run / "checkpoints" / "next_ranks").exists()


@pytest.mark.ranks(2)
def test_a_run_whose_batch_grows_takes_a_second_rank_and_is_that_of_one(tmp_path):
    """Two starts of horovodrun; the epochs of one rank and of two are those of one rank throughout."""
    growth = {
        "model.name": "logistic_regression", "epochs": 3, "batch_size": 128, "sub_batch_size": 128,
        "batch_schedule.name": "grow", "batch_schedule.epochs": (1,), "batch_schedule.factor": 2.0,
        "batch_schedule.max_batch_size": 256,
    }  # fmt: skip
    recipe = f"{ROOT / 'hparams' / 'digits_resnet.py'}:small_batch"
    flags = [f"--config.{key}={value}" for key, value in growth.items()]
    elastic = ["--config.elastic.max_ranks=2", "--config.elastic.samples_per_rank=128"]
    done = subprocess.run(
        ["bash", ROOT / "launch" / "local.sh", "--elastic", "1", f"--config={recipe}", *flags, *elastic,
         f"--workdir={tmp_path / 'elastic'}"],
        env=rank_environment(), cwd=tmp_path, timeout=300, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert (
        done.stdout.count("starts the run of") == 1 and "again with 2 ranks (resize)" in done.stdout
    )
    config = recipes.load(recipe)
    for key, value in sorted(growth.items(), key=lambda pair: not pair[0].endswith(".name")):
        config.update_from_flattened_dict({key: value})
    tflbt.train.train(config, tmp_path / "fixed")
    ours, theirs = rows(tmp_path / "elastic"), rows(tmp_path / "fixed")
    assert [row.pop("ranks") for row in ours] == ["1", "2", "2"]
    assert [row.pop("ranks") for row in theirs] == ["1", "1", "1"]
    assert [row["batch_size"] for row in ours] == ["128", "256", "256"]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        np.testing.assert_allclose(
            [float(value) for value in mine.values()], [float(v) for v in other.values()], rtol=1e-5
        )
    assert (tmp_path / "elastic" / "report.html").exists()
    assert not (tmp_path / "elastic" / "checkpoints" / "next_ranks").exists()
