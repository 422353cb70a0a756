"""The records of a search: lines on the screen, the best so far, and whose checkpoints are kept."""

from __future__ import annotations

import csv
import math

import pytest

from tflbt.tuning.ledger import Ledger
from tflbt.tuning.search_directory import SearchDirectory
from tflbt.tuning.trial import Outcome


@pytest.fixture
def ledger(invented, tmp_path):
    """Makes the ledger of a search of three trials after a baseline, and the list of its best ones."""

    def make(verbose=1, keep_checkpoints="best"):
        directory = SearchDirectory.create(tmp_path / "search", {"defaults": {}})
        best = []
        study = invented.study(max_trials=3, baseline=True)
        return Ledger(
            study,
            directory,
            keep_checkpoints=keep_checkpoints,
            write_best=lambda trial, value: best.append((trial.number, value)),
            verbose=verbose,
        ), best

    return make


def run(ledger, outcomes):
    for outcome in outcomes:
        trial = ledger.study.next()
        (ledger.directory.trial(trial.number) / "checkpoints").mkdir(parents=True)
        ledger.begun(trial)
        ledger.study.end(trial.number, outcome)
        ledger.ended(trial.number)


OUTCOMES = [
    Outcome("completed", (0.4,), 1.0),
    Outcome("completed", (0.5, 0.6), 1.25),
    Outcome("diverged", (math.nan,), 1.0, "the loss is nan"),
    Outcome("stopped", (0.7,), 1.0),
]


def test_each_trial_has_two_lines_and_a_row(ledger, capsys):
    book, best = ledger()
    run(book, OUTCOMES)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and lines[0] == "trial 0: nothing changed"
    assert lines[2].startswith("trial 1 of 3: learning_rate=")
    assert lines[3].startswith("trial 1: val_accuracy 0.6, 1.2 s, best 0.6 (trial 1), about ")
    assert lines[5].startswith("trial 2: diverged, 1.0 s, best 0.6 (trial 1)")
    assert lines[5].endswith("; the loss is nan")
    assert lines[7] == "trial 3: stopped, val_accuracy 0.7, 1.0 s, best 0.7 (trial 3)"
    with book.directory.trials_csv.open(newline="") as file:
        statuses = [row["status"] for row in csv.DictReader(file)]
    assert statuses == ["completed", "completed", "diverged", "stopped"]
    assert best == [(1, 0.6), (3, 0.7)]


def test_the_result_and_the_checkpoints_of_the_best(ledger, capsys):
    book, _ = ledger(verbose=0)
    run(book, OUTCOMES)
    result = book.result()
    assert (result.number, result.objective, result.trials, result.baseline) == (3, 0.7, 3, 0.4)
    assert result.values == book.study.trials[3].values
    names = [path.parent.name for path in book.directory.path.glob("trials/*/checkpoints")]
    assert names == ["0003"] and capsys.readouterr().out == ""


def test_all_checkpoints_are_kept_if_wanted(ledger):
    book, _ = ledger(verbose=0, keep_checkpoints="all")
    run(book, OUTCOMES)
    book.result()
    assert len(list(book.directory.path.glob("trials/*/checkpoints"))) == 4


def test_nothing_found(ledger):
    book, best = ledger(verbose=0)
    result = book.result()
    assert (result.number, dict(result.values), result.objective, result.trials) == (
        None,
        {},
        None,
        0,
    )
    assert best == []


def test_a_resumption_brings_the_files_up_to_date(ledger, capsys):
    book, best = ledger()
    run(book, OUTCOMES[:2])
    book.directory.trials_csv.unlink()
    capsys.readouterr()
    book.go_on()
    assert capsys.readouterr().out == "resume: 2 of 3 trials have ended, 0 will be continued\n"
    assert book.directory.trials_csv.exists() and best[-1] == (1, 0.6)
    assert len(list(book.directory.tensorboard.glob("0*"))) == 1  # not the baseline
