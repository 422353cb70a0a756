"""The line of an epoch is aligned, compact, and copes with any row."""

from __future__ import annotations

import math

from tflbt.callbacks.epoch_line import epoch_line

ROW = {
    "epoch": 12,
    "updates": 36,
    "samples": 17244,
    "loss": 0.4321,
    "accuracy": 0.87,
    "val_loss": 0.5,
    "val_accuracy": 0.85,
    "learning_rate": 3.200000047683716,
    "batch_size": 512,
    "phase": "convergence",
    "eigenvalue": 12.3456,
    "decays": 1,
    "seconds": 4.25,
    "seconds_curvature": 0.1,
}


def test_everything_a_person_follows_is_there():
    line = epoch_line(ROW, 60)
    assert "\n" not in line
    for part in (
        "epoch 12/60",
        "loss 0.4321",
        "val_accuracy 0.8500",
        "convergence",
        "lr 3.2 ",
        "eigenvalue 12.35",
        "decays 1",
        "4.2 s",
    ):
        assert part in line


def test_lines_of_one_run_stand_in_columns():
    early = {**ROW, "epoch": 3, "phase": "exploration", "eigenvalue": None, "loss": 12.5}
    tiny = {**ROW, "loss": 1.5e-7, "learning_rate": 0.0123456, "eigenvalue": -3e-5}
    lost = {**ROW, "loss": math.nan}
    places = {
        tuple(i for i, sign in enumerate(epoch_line(row, 60)) if sign == "|")
        for row in (ROW, early, tiny, lost)
    }
    assert len(places) == 1


def test_a_row_with_little_in_it():
    assert epoch_line({"epoch": 1}) == "epoch 1"
    row = {"epoch": 3, "loss": 0.25, "learning_rate": 3.2, "seconds": 4.21}
    assert epoch_line(row, 20) == "epoch  3/20 | loss 0.2500   | lr 3.2      | 4.2 s"
