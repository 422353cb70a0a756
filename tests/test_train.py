"""`python -m tflbt.train` on two ranks: killed and resumed equals uninterrupted; a failure ends every rank."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

TESTS = Path(__file__).resolve().parent
RECIPE = TESTS / "small_digits.py"
# So large a rate, and so short a patience, that the phase switches and the rate decays within six epochs.
SCHEDULE = (
    "--config.epochs=6",
    "--config.sub_batch_size=64",
    "--config.schedule.patience=1",
    "--config.schedule.min_delta=10.",
    "--config.schedule.extra_fraction=0.",
    "--config.warmup.epochs=1.5",
    "--config.optimizer.learning_rate=12.",
)


@pytest.fixture
def train(run_ranks):
    """Runs the command on two ranks, doing `how` to it in or after an epoch; returns status and output."""

    def start(run, *flags, how="nothing:0", variant="two_phase_lars", check=True):
        words = (how, f"--config={RECIPE}:{variant}", f"--workdir={run}", *flags)
        return run_ranks(TESTS / "train_with_accident.py", args=words, check=check)

    return start


def rows(run: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the columns of time."""
    with (run / "metrics.csv").open() as file:
        return [
            {name: value for name, value in row.items() if not name.startswith("seconds")}
            for row in csv.DictReader(file)
        ]


def variables(checkpoint: Path) -> dict[str, bytes]:
    reader = tf.train.load_checkpoint(str(checkpoint / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: reader.get_tensor(name).tobytes() for name in names}


def tree(folder: Path) -> dict[str, str]:
    """Every file of a folder with the hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def checkpoints(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def told(output: str) -> list[str]:
    """The error lines of the command, and what there is of tracebacks by a rank (the launcher has one of its own)."""
    lines = output.splitlines()
    return [
        line
        for line in lines
        if "error: " in line or ("Traceback" in line and line.startswith("["))
    ]


@pytest.mark.ranks(2)
def test_interrupted_and_resumed_equals_uninterrupted(train, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(whole, *SCHEDULE)
    phases = [(row["phase"], row["decays"]) for row in rows(whole)]
    assert len(phases) == 6 and phases[0][0] == "exploration", phases
    assert int(phases[-1][1]) >= 1, f"no decay to test: {phases}"
    config = json.loads((whole / "config.json").read_text())
    assert config["name"] == "digits_resnet:two_phase_lars" and config["epochs"] == 6
    assert config["sub_batch_size"] == 64 and config["schedule"]["patience"] == 1

    assert train(run, *SCHEDULE, how="kill_job:1", check=False).returncode != 0
    resume = (*SCHEDULE, "--resume")
    assert train(run, *resume, how="kill_while_writing:3", check=False).returncode != 0
    assert checkpoints(run) == [".writing_epoch_00003", "epoch_00001", "epoch_00002"]
    assert train(run, *resume, how="terminate_rank_1:4", check=False).returncode != 0
    newest = run / "checkpoints" / checkpoints(run)[-1]
    damaged = newest / "variables.data-00000-of-00001"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    done = train(run, *resume, how="terminate_launcher:4", check=False)
    # horovodrun itself may call it a success when it is terminated.
    assert f"{newest.name} is damaged" in done.stdout, done.stdout[-3000:]
    train(run, *resume)

    assert rows(run) == rows(whole)
    assert checkpoints(run) == checkpoints(whole) == ["epoch_00005", "epoch_00006"]
    for name in checkpoints(whole):
        ours, theirs = (place / "checkpoints" / name for place in (run, whole))
        assert variables(ours) == variables(theirs) and len(variables(ours)) > 10
        assert json.loads((ours / "state.json").read_text()) == json.loads(
            (theirs / "state.json").read_text()
        )
    assert (run / "report.html").exists()

    before = tree(run)
    for flags, says in (
        (("--resume",), "6 of 6 epochs are done"),
        (
            ("--resume", "--config.seed=3"),
            "error: * cannot resume with another configuration: seed was 0, is now 3.",
        ),
        ((), "error: * holds a run; continue it with --resume"),
    ):
        command = [sys.executable, "-m", "tflbt.train", f"--config={RECIPE}", f"--workdir={run}"]
        done = subprocess.run(
            [*command, *SCHEDULE, *flags],
            env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert (done.returncode == 0) == (says[:5] != "error"), done.stdout
        assert all(part in done.stdout for part in says.split("*")), done.stdout
        assert "Traceback" not in done.stdout
        assert tree(run) == before


@pytest.mark.ranks(2)
def test_a_growing_batch_goes_on_where_it_was(train, tmp_path):
    flags = (
        "--config.epochs=4",
        "--config.batch_size=64",
        "--config.sub_batch_size=32",
        "--config.schedule.name=step",
        "--config.schedule.epochs=(3,)",
        "--config.batch_schedule.name=adaptive",
        "--config.batch_schedule.max_batch_size=512",
        "--config.batch_schedule.kappa=1",
        "--config.batch_schedule.tau=3",
        "--config.batch_schedule.reference=first_epoch",
        "--config.adversarial.share=0.25",
    )
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(whole, *flags, variant="large_batch")
    found = [(row["batch_size"], row["adversarial_ratio"]) for row in rows(whole)]
    assert found == [("64", "0.25"), ("64", "0.25"), ("128", "0.125"), ("256", "0.0")]
    assert train(run, *flags, how="kill_job:2", variant="large_batch", check=False).returncode != 0
    train(run, *flags, "--resume", variant="large_batch")
    assert rows(run) == rows(whole)
    newest = [place / "checkpoints" / checkpoints(place)[-1] for place in (run, whole)]
    assert variables(newest[0]) == variables(newest[1])


@pytest.mark.ranks(2)
def test_a_loss_that_is_no_number_ends_the_job_and_keeps_what_was(train, tmp_path):
    run = tmp_path / "run"
    flags = ("--config.epochs=6", "--config.schedule.name=constant", "--config.warmup.epochs=0.")
    done = train(run, *flags, how="diverge:2", variant="large_batch", check=False)
    assert done.returncode != 0
    (line,) = told(done.stdout)
    assert "tflbt.train: error: The loss is" in line and "in epoch 3 (learning rate 1e+38)" in line
    assert checkpoints(run) == ["epoch_00001", "epoch_00002"]
    assert [row["loss"] == "nan" for row in rows(run)] == [False, False, True]
    assert (run / "report.html").exists()


@pytest.mark.ranks(2)
def test_a_full_disk_ends_the_job_and_keeps_earlier_checkpoints(train, tmp_path):
    run = tmp_path / "run"
    done = train(run, "--config.epochs=6", how="fill_disk:2", check=False)
    assert done.returncode != 0
    (line,) = (line for line in told(done.stdout) if "report could not" not in line)
    assert "tflbt.train: error: " in line and "cannot write the checkpoint of epoch 3" in line
    assert checkpoints(run) == ["epoch_00001", "epoch_00002"]


@pytest.mark.ranks(2)
def test_a_rank_that_fails_alone_ends_the_job_and_says_why(train, tmp_path):
    run = tmp_path / "run"
    done = train(run, "--config.epochs=6", how="fail_on_rank_1:0", check=False)
    assert done.returncode != 0
    (line,) = told(done.stdout)
    assert "tflbt.train: error: rank 1: config.optimizer.name='Adan' is no optimizer" in line


@pytest.mark.ranks(2)
def test_an_error_of_all_ranks_is_told_once_before_anything_is_written(train, tmp_path):
    run = tmp_path / "run"
    done = train(run, "--config.batch_size=500", "--config.sub_batch_size=64", check=False)
    assert done.returncode != 0
    (line,) = told(done.stdout)
    assert (
        "batch_size=500 is not a multiple of 2 ranks x sub_batch_size=64 (= 128): use 384 or 512."
        in line
    )
    assert not run.exists()
