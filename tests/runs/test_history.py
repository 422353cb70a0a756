"""Reading phase switch, decays and results out of rows."""

from __future__ import annotations

import math

import pytest

from tflbt.runs.history import History


def rates(*values):
    return History([{"epoch": n, "learning_rate": v} for n, v in enumerate(values, start=1)])


def test_switch_and_counted_decays():
    phases = ["exploration"] * 2 + ["convergence"] * 4
    counts = [0, 0, 0, 1, 1, 2]
    rows = [
        {"epoch": n, "phase": phase, "decays": count}
        for n, (phase, count) in enumerate(zip(phases, counts), start=1)
    ]
    history = History(rows)
    assert history.switch_epoch == 3
    assert history.decay_epochs == [4, 6]


def test_decays_counted_when_they_take_effect_are_the_same_ones():
    late = [(1.0, 0), (1.0, 0), (0.5, 1), (0.5, 1)]
    early = [(1.0, 0), (1.0, 1), (0.5, 1), (0.5, 1)]
    for pairs in (late, early):
        rows = [
            {"epoch": n, "learning_rate": rate, "decays": count}
            for n, (rate, count) in enumerate(pairs, start=1)
        ]
        assert History(rows).decay_epochs == [2]


def test_steps_of_the_learning_rate_are_decays():
    assert rates(0.1, 0.1, 0.01, 0.01, 0.001).decay_epochs == [2, 4]


@pytest.mark.parametrize("steps", [5, 30, 200])
def test_warm_up_cosine_and_polynomial_are_not_decays(steps):
    warm = [0.1 * n / 5 for n in range(1, 6)]
    cosine = [0.05 * (1 + math.cos(math.pi * n / steps)) for n in range(steps)]
    assert rates(*warm, *cosine).decay_epochs == []
    assert rates(*warm, *[0.1 * (1 - n / steps) ** 2 for n in range(steps)]).decay_epochs == []


def test_a_step_after_warm_up_is_a_decay():
    assert rates(0.02, 0.06, 0.1, 0.1, 0.05, 0.05).decay_epochs == [4]


def test_no_phases():
    history = History([{"epoch": 1, "phase": None}])
    assert not history.has_phases
    assert history.switch_epoch is None and history.decay_epochs == []


@pytest.mark.parametrize(
    ("row", "metric"),
    [
        ({"loss": 1.0, "mae": 2.0, "accuracy": 0.5}, "accuracy"),
        ({"loss": 1.0, "mae": 2.0, "head_loss": 1.0}, "mae"),
        ({"val_accuracy": 0.5}, "accuracy"),
        ({"loss": 1.0, "learning_rate": 0.1, "seconds_data": 1.0}, None),
        ({"accuracy": math.nan}, None),
    ],
)
def test_metric(row, metric):
    assert History([row]).metric == metric


def test_best_leaves_out_what_is_not_finite_and_takes_the_first():
    rows = [{"epoch": n, "a": v} for n, v in ((1, math.nan), (2, 0.5), (3, 0.5), (4, math.inf))]
    assert History(rows).best("a") == (2, 0.5)
    assert History(rows).best("b") is None


def test_a_resumed_run_keeps_its_epoch_numbers():
    assert History([{"epoch": 4}, {"epoch": 5}]).epochs == [4, 5]
