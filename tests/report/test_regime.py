"""A run directory's regime: what counts as linear scaling alone, and what a directory must hold."""

from __future__ import annotations

import math

import pytest

from tflbt.report import RunDirectory, regime

NAN = math.nan


@pytest.fixture
def trained(tmp_path):
    """Makes a run directory of `epochs` rows, its configuration changed by dotted keys."""

    def make(name, size, accuracy=0.99, loss=0.1, epochs=3, rows=(), **changes):
        config = {
            "name": name,
            "seed": 0,
            "epochs": 3,
            "batch_size": size,
            "sub_batch_size": None,
            "data": {"name": "digits", "padding": 1},
            "model": {"name": "digits_resnet"},
            "optimizer": {"name": "SGD", "learning_rate": 0.01 * size, "momentum": 0.9},
            "warmup": {"epochs": 0.0},
        }
        for key, value in changes.items():
            folder, _, last = key.rpartition("__")
            (config[folder] if folder else config)[last] = value
        run = RunDirectory.create(tmp_path / name, config)
        for epoch in range(1, epochs + 1):
            row = {"epoch": epoch, "updates": epoch, "samples": epoch * 1000, "loss": loss}
            row.update(accuracy=accuracy, val_loss=loss, val_accuracy=accuracy)
            run.metrics.append({**row, "batch_size": size, **(rows[epoch - 1] if rows else {})})
        return run

    return make


@pytest.fixture
def baseline(trained):
    return trained("baseline", 10)


def of(run, baseline, *others):
    return regime.line(run, baseline, others).split(" is ")[1].split(":")[0]


def test_linear_scaling_alone_that_reaches_is_small(trained, baseline):
    run = trained("linear", 40, seed=3, sub_batch_size=20)
    assert regime.line(run, baseline) == (
        "batch 40 is small: 0.99 is at least 99.5% of the baseline's 0.99 (batch 10) in as many epochs; "
        "linear scaling alone is enough up to batch 40"
    )
    assert of(baseline.path, str(baseline.path)) == "small"


@pytest.mark.parametrize(
    "change",
    [
        {"warmup__epochs": 1.0},
        {"optimizer__learning_rate": 0.2},
        {"optimizer__name": "LARS"},
        {"optimizer__global_clipnorm": 1.0},
        {"label_smoothing": 0.1},
        {"data__padding": 2},
    ],
)
def test_any_other_change_is_a_technique(change, trained, baseline):
    """It reaches, so it is not huge; but it does not show that linear scaling alone would do."""
    run = trained("changed", 40, **change)
    assert of(run, baseline) == "small or large"
    failed = trained("linear", 20, accuracy=0.5)
    assert of(run, baseline, failed) == "large"


def test_huge_and_full(trained, baseline):
    lars = {"optimizer__name": "LARS"}
    reached, failed = trained("reached", 100, **lars), trained("failed", 400, 0.98, **lars)
    assert of(failed, baseline) == "huge"
    assert of(failed, baseline, reached, trained("again", 400, 0.9851, **lars)) == "small or large"
    assert of(trained("all", 1000, **lars), baseline) == "full"
    assert of(
        trained("no count", 1000, **lars), trained("b", 10, rows=[{"samples": None}] * 3)
    ) == ("small or large")


def test_a_run_that_was_cut_short_decides_nothing_unless_it_diverged(trained, baseline):
    lars = {"optimizer__name": "LARS"}
    assert of(trained("cut", 40, 0.5, epochs=2, **lars), baseline) == "small, large or huge"
    assert of(trained("nan", 40, 0.1, NAN, epochs=2, **lars), baseline) == "huge"
    cut = [{"loss": NAN, "val_loss": None, "val_accuracy": None}]
    assert of(trained("mid-epoch", 40, epochs=1, rows=cut, **lars), baseline) == "huge"


def test_a_directory_named_twice_counts_once(trained, baseline):
    run = trained("run", 40, 0.5, optimizer__name="LARS")
    assert regime.line(run, baseline, [run.path, baseline, str(run.path)]) == regime.line(
        run, baseline
    )


def test_what_is_missing_is_told_with_the_file(trained, baseline, tmp_path):
    def error(run, kind=ValueError, against=baseline):
        with pytest.raises(kind) as raised:
            regime.line(run, against)
        return str(raised.value)

    assert "no config.json" in error(tmp_path / "nothing", FileNotFoundError)
    assert "no config.json" in error(baseline, FileNotFoundError, tmp_path / "nothing")
    assert "no epochs to compare" in error(trained("empty", 40, epochs=0), FileNotFoundError)
    blank = [{"accuracy": None, "val_accuracy": None}] * 3
    said = error(trained("no accuracy", 40, rows=blank))
    assert "no accuracy/metrics.csv has no val_accuracy in its last row" in said
    assert "has no val_loss in" in error(trained("no loss", 40, rows=[{"val_loss": None}] * 3))
    assert "config.data.name='mnist' is not the baseline's 'digits'" in error(
        trained("data", 40, data__name="mnist")
    )
    grown = [{"batch_size": size} for size in (40, 80, 80)]
    assert "the batch size changed during the run (40 to 80)" in error(
        trained("grown", 40, rows=grown)
    )
    assert "config.json: batch_size=None must be a whole number" in error(
        trained("unsaid", 40, batch_size=None)
    )
    short = trained("short", 10, epochs=2)
    assert "the baseline has 2 of its 3 epochs" in error(trained("run", 40), against=short)
