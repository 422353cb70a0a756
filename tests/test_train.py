"""`python -m tflbt.train` on two ranks: killed and resumed equals uninterrupted; a failure ends every rank."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from pathlib import Path

import pytest

import tflbt.train
from tests.conftest import start_ranks
from tests.ranks.runs import assert_same_checkpoints, checkpoints, rows
from tflbt import command_line, recipes

TESTS = Path(__file__).resolve().parent
RECIPE = TESTS / "small_digits.py"
# So large a rate, and so short a patience, that the phase switches in the fourth epoch, near the second accident, and
# the rate decays.
SCHEDULE = (
    "--config.epochs=6",
    "--config.sub_batch_size=64",
    "--config.schedule.patience=1",
    "--config.schedule.min_delta=10.",
    "--config.schedule.extra_fraction=0.",
    "--config.warmup.epochs=1.5",
    "--config.optimizer.learning_rate=12.",
)


def train(run: Path, *flags: str, how: str = "nothing:0", check: bool = True):
    """Runs the command on two ranks, doing `how` to it in or after an epoch; returns status and output."""
    words = (how, f"--config={RECIPE}:two_phase_lars", f"--workdir={run}", *flags)
    return start_ranks(TESTS / "train_with_accident.py", run.parent, args=words, check=check)


def tree(folder: Path) -> dict[str, str]:
    """Every file of a folder with the hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def error_lines(output: str) -> list[str]:
    """The error lines of the command, and what there is of tracebacks by a rank (the launcher has one of its own)."""
    lines = output.splitlines()
    return [
        line
        for line in lines
        if "error: " in line or ("Traceback" in line and line.startswith("["))
    ]


@pytest.mark.ranks(2)
def test_killed_in_two_ways_and_resumed_equals_uninterrupted(tmp_path, capsys):
    """A machine stops in the midst of a checkpoint; a batch system ends the job at any moment, and a file is damaged.

    tests/test_tune.py kills one rank; tests/training/test_checkpoint_kills.py a writer in other moments.
    """
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(whole, *SCHEDULE)
    assert {row["phase"] for row in rows(whole)} == {"exploration", "convergence"}
    assert int(rows(whole)[-1]["decays"]) >= 1
    config = json.loads((whole / "config.json").read_text())
    assert config["name"] == "digits_resnet:two_phase_lars" and config["epochs"] == 6
    assert config["sub_batch_size"] == 64 and config["schedule"]["patience"] == 1
    assert train(run, *SCHEDULE, how="kill_job_while_writing:2", check=False).returncode != 0
    assert checkpoints(run) == [".writing_epoch_00002", "epoch_00001"]
    resume = (*SCHEDULE, "--resume")
    # horovodrun itself may call it a success when it is terminated.
    train(run, *resume, how="terminate_launcher:3", check=False)
    assert len(rows(run)) >= 3
    newest = run / "checkpoints" / checkpoints(run)[-1]
    damaged = newest / "variables.data-00000-of-00001"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    done = train(run, *resume)
    assert f"{newest.name} is damaged" in done.stdout, done.stdout[-3000:]

    assert rows(run) == rows(whole)
    assert checkpoints(whole) == ["epoch_00005", "epoch_00006"]
    assert_same_checkpoints(run, whole)
    assert (run / "report.html").exists()

    # A finished run stays as it is.
    before = tree(run)
    flags = (flag.removeprefix("--config.").split("=") for flag in SCHEDULE)
    values = {key: ast.literal_eval(value) for key, value in flags}
    config = recipes.load(f"{RECIPE}:two_phase_lars")
    config.update_from_flattened_dict(values)
    assert tflbt.train.train(config, run, resume=True) is None
    assert "6 of 6 epochs are done" in capsys.readouterr().out
    with pytest.raises(command_line.EXPECTED, match="holds a run; continue it with --resume"):
        tflbt.train.train(config, run)
    config.seed = 3
    message = "cannot resume with another configuration: seed was 0, is now 3."
    with pytest.raises(command_line.EXPECTED, match=re.escape(message)):
        tflbt.train.train(config, run, resume=True)
    assert tree(run) == before


@pytest.mark.ranks(2)
def test_a_full_disk_ends_the_job_and_keeps_earlier_checkpoints(tmp_path):
    run = tmp_path / "run"
    flags = ("--config.epochs=3", "--config.model.widths=(32,)", "--config.schedule.name=constant")
    done = train(run, *flags, how="fill_disk:2", check=False)
    assert done.returncode != 0
    (line,) = (line for line in error_lines(done.stdout) if "report could not" not in line)
    assert "tflbt.train: error: " in line and "cannot write the checkpoint of epoch 3" in line
    assert checkpoints(run) == ["epoch_00001", "epoch_00002"]


@pytest.mark.ranks(2)
def test_a_rank_that_fails_alone_ends_the_job_and_says_why(tmp_path):
    run = tmp_path / "run"
    done = train(run, "--config.epochs=6", how="fail_on_rank_1:0", check=False)
    assert done.returncode != 0
    (line,) = error_lines(done.stdout)
    assert "tflbt.train: error: rank 1: config.optimizer.name='Adan' is no optimizer" in line
