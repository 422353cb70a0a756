"""The headline numbers of a run."""

from __future__ import annotations

import math

import pytest

from tflbt.report.tiles import duration, tiles
from tflbt.runs.history import History


def by_name(rows, config=None, environment=None):
    return {tile.name: tile for tile in tiles(History(rows), config or {}, environment or {})}


def test_a_two_phase_run():
    rows = [
        {
            "epoch": n,
            "updates": 4 * n,
            "samples": 400 * n,
            "val_accuracy": accuracy,
            "batch_size": 1024,
            "phase": "convergence" if n >= 2 else "exploration",
            "decays": n - 2 if n > 2 else 0,
            "seconds": 10.0,
            "seconds_curvature": 0.1,
        }
        for n, accuracy in enumerate([0.5, 0.9, 0.8], start=1)
    ]
    found = by_name(rows, {"epochs": 3, "train.sub_batch_size": 128}, {"ranks": 2})
    assert found["Best validation accuracy"][1:] == ("90.00%", "epoch 2")
    assert found["Final validation accuracy"][1:] == ("80.00%", "epoch 3")
    assert found["Epochs"][1:] == ("3", "of 3")
    assert found["Updates"][1:] == ("12", "1,200 samples seen")
    assert found["Batch size"][1:] == ("1,024", "2 ranks × 4 sub-batches × 128")
    assert found["Time"][1:] == ("30 s", "10.0 s per epoch, 1.0% on curvature")
    assert found["Phase switch"][1:] == ("epoch 2", "1 epoch of convergence")
    assert found["Learning-rate decays"][1:] == ("1", "after epoch 3")


def test_a_run_without_validation_phases_or_configuration():
    found = by_name([{"epoch": 1, "loss": 0.25, "mae": 3.0}])
    assert list(found) == ["Best training mae", "Final training mae", "Epochs"]


def test_a_batch_that_does_not_divide_is_shown_without_its_parts():
    found = by_name([{"epoch": 1, "batch_size": 100}], {"sub_batch_size": 64}, {"ranks": 2})
    assert found["Batch size"][1:] == ("100", "2 ranks")


def test_a_batch_that_grew():
    rows = [{"epoch": 1, "batch_size": 128}, {"epoch": 2, "batch_size": 512}]
    assert by_name(rows)["Batch size"].value == "128 → 512"
    assert by_name(rows)["Batch growths"][1:] == ("1", "after epoch 1")
    note = by_name(rows, environment={"ranks": 2})["Batch size"].note
    assert (
        note == "2 ranks × 4 sub-batches × 64"
    )  # a rank's share of the first batch, as it is by default


def test_not_a_number_at_the_end():
    rows = [{"epoch": 1, "accuracy": 0.5}, {"epoch": 2, "accuracy": math.nan}]
    assert by_name(rows)["Final training accuracy"].value == "not finite"


def test_duration():
    assert [duration(s) for s in (0.2, 59.6, 3600, 90000)] == [
        "0 s",
        "1 min 0 s",
        "1 h 0 min",
        "25 h 0 min",
    ]


def test_ranks_that_came_and_went():
    ranks = [1, 1, 2, 4, 4, 2]
    rows = [{"epoch": n, "ranks": number, "batch_size": 256} for n, number in enumerate(ranks, 1)]
    found = by_name(
        [{"epoch": 0}, *rows], environment={"ranks": 1}
    )  # the first is of an older version
    assert found["Ranks"][1:] == ("1 → 2 → 4 → 2", "after epochs 2, 3, 5")
    assert "Ranks" not in by_name(rows[:2])
    assert found["Batch size"].note == "2 ranks"


@pytest.mark.parametrize(
    ("metric", "best"), [("auc", "0.9"), ("mae", "0.5"), ("temperature", None)]
)
def test_the_best_is_the_largest_the_smallest_or_not_said(metric, best):
    rows = [{"epoch": n, f"val_{metric}": value} for n, value in enumerate([0.5, 0.9, 0.8], 1)]
    found = {tile.name: tile.value for tile in tiles(History(rows), {}, {})}
    assert found.get(f"Best validation {metric}") == best
    assert found[f"Final validation {metric}"] == "0.8"
