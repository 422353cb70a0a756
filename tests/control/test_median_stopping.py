"""Tests of `MedianStopping`: when a trial of a search is hopeless."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tflbt.control.median_stopping import MedianStopping

EPOCHS = 12


def hopeless_by_definition(values, finished, grace, trials):
    """Vizier's rule for "max" with NumPy, histories in a table filled up with NaN."""
    epoch = len(values)
    table = np.full((len(finished), EPOCHS), np.nan)
    for row, history in zip(table, finished):
        row[: len(history)] = history
    table = table[:, :epoch]
    table = table[np.isfinite(table).any(axis=1)]
    if epoch < grace or epoch >= EPOCHS or len(table) < trials:
        return False
    best = -np.inf if np.isnan(values).all() else np.nanmax(values)
    return bool(best < np.median(np.nanmean(table, axis=1)))


def some_histories(seed):
    """A trial's values and those of finished trials, some short, some with NaN, in quarters: exact sums, many ties."""
    random = np.random.default_rng(seed)

    def history(epochs):
        values = random.integers(-8, 9, epochs) / 4
        values[random.random(epochs) < 0.15] = np.nan
        return values.tolist()

    finished = [history(int(random.integers(1, EPOCHS + 1))) for _ in range(random.integers(0, 9))]
    behind = float(random.integers(0, 3))
    return [value - behind for value in history(int(random.integers(1, EPOCHS + 1)))], finished


def test_the_rule_is_what_numpy_says():
    said = []
    for seed in range(300):
        values, finished = some_histories(seed)
        for epoch in range(len(values) + 1):
            rule = MedianStopping("max", EPOCHS, grace=3, trials=2)
            said.append(rule.hopeless(values[:epoch], finished))
            assert said[-1] == hopeless_by_definition(values[:epoch], finished, 3, 2)
    assert 100 < sum(said) < len(said) - 100  # both answers were tried


def test_smaller_is_better_where_the_direction_says_so():
    for seed in range(100):
        values, finished = some_histories(seed)
        larger = MedianStopping("max", EPOCHS, trials=2).hopeless(values, finished)
        turned = [[-value for value in history] for history in finished]
        smaller = MedianStopping("min", EPOCHS, trials=2)
        assert smaller.hopeless([-value for value in values], turned) == larger


@pytest.mark.parametrize("direction", ["max", "min"])
def test_the_best_trial_so_far_is_never_stopped(direction):
    pick = max if direction == "max" else min
    for seed in range(200):
        random = np.random.default_rng(seed)
        finished = random.normal(size=(5, EPOCHS)).tolist()
        epoch = int(random.integers(1, EPOCHS))
        values = random.normal(size=epoch).tolist()
        values[-1] = pick(pick(history[:epoch]) for history in finished)
        assert not MedianStopping(direction, EPOCHS, grace=1).hopeless(values, finished)


@pytest.mark.parametrize("value", [0.1, 0.7, 1 / 3, 1e-5])
def test_trials_that_are_all_alike_are_not_stopped(value):
    """A float sum of equal values, divided by their number, may be larger than each of them."""
    finished = [[value] * EPOCHS for _ in range(6)]
    for direction in ("max", "min"):
        rule = MedianStopping(direction, EPOCHS, grace=1)
        assert not any(rule.hopeless([value] * epoch, finished) for epoch in range(EPOCHS + 1))


def test_it_takes_enough_finished_trials_with_a_value():
    rule = MedianStopping("max", 9, grace=1, trials=3)
    good = [[1.0] * 9] * 2
    assert not rule.hopeless([0.0], good)
    assert not rule.hopeless([0.0], [*good, [math.nan] * 9, []])
    assert rule.hopeless([0.0], [*good, [1.0]])


def test_later_epochs_of_finished_trials_do_not_count():
    rule = MedianStopping("max", 9, grace=1, trials=1)
    assert not rule.hopeless([0.2, 0.3], [[0.1, 0.3, 0.9, 0.9, 0.9]])


def test_a_trial_without_a_number_is_hopeless_after_the_grace():
    rule = MedianStopping("min", 9, trials=1)
    assert [rule.hopeless([math.nan] * epoch, [[5.0]]) for epoch in (1, 2, 3)] == [
        False,
        False,
        True,
    ]
    assert rule.hopeless([math.inf] * 3, [[5.0]])
    assert not rule.hopeless([math.nan, 4.0, math.nan], [[5.0]])
    assert rule.hopeless(
        [6.0] * 3, [[math.inf, 5.0, 5.0]]
    )  # of finished trials too only numbers count


@pytest.mark.parametrize(
    ("epochs", "warmup", "grace"), [(60, 0, 20), (10, 0, 4), (1, 0, 1), (30, 12.5, 13), (30, 2, 10)]
)
def test_the_grace_is_a_third_or_the_warm_up(epochs, warmup, grace):
    rule = MedianStopping("max", epochs, trials=1, warmup=warmup)
    assert rule.grace_epochs == grace
    stopped = [
        epoch for epoch in range(epochs + 1) if rule.hopeless([0.0] * epoch, [[1.0] * epochs])
    ]
    assert stopped == list(range(grace, epochs))  # and not after the last epoch
    assert MedianStopping("max", epochs, 2, 1, warmup).grace_epochs == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("direction", "up"), ("direction", None), ("epochs", 0), ("epochs", 1.5), ("grace", 0), ("grace", -1),
     ("trials", 0), ("trials", math.nan), ("warmup", -1.0), ("warmup", math.nan), ("warmup", math.inf)],
)  # fmt: skip
def test_wrong_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}="):
        MedianStopping(**{"direction": "max", "epochs": 9, name: value})
