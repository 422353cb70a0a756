"""Who wins a search, and the running best."""

from __future__ import annotations

import math

import pytest

from tflbt.report.search_history import SearchHistory, TrialRow

OBJECTIVES = [
    ("completed", 0.5),
    ("diverged", 0.99),
    ("completed", 0.7),
    ("failed", 0.01),
    ("stopped", 0.6),
    ("completed", 0.7),
    ("completed", math.nan),
    ("running", 0.9),
    ("completed", 0.2),
]
NAN = math.nan


def search(direction, rows=OBJECTIVES, baseline=None):
    trials = [TrialRow(n, status, value, {}) for n, (status, value) in enumerate(rows, start=1)]
    return SearchHistory({"direction": direction, "objective": "a"}, trials, baseline)


@pytest.mark.parametrize(
    ("direction", "winner", "stairs"),
    [
        ("max", 3, [0.5, 0.5, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]),
        ("min", 9, [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.2]),
    ],
)
def test_the_best_is_the_first_of_those_that_may_win(direction, winner, stairs):
    history = search(direction)
    assert history.best.number == winner
    assert history.best_so_far == stairs


def test_a_stopped_trial_may_win():
    assert search("max", [("completed", 0.1), ("stopped", 0.2)]).best.number == 2


def test_none_wins_where_all_broke():
    history = search("max", [("diverged", 0.9), ("failed", NAN), ("running", 0.5)])
    assert history.best is None and history.gain is None
    assert all(value != value for value in history.best_so_far)
    assert history.counts == {"diverged": 1, "failed": 1, "running": 1}


@pytest.mark.parametrize(("direction", "gain"), [("max", 0.1), ("min", 0.4)])
def test_the_gain_over_the_recipe_as_it_is(direction, gain):
    recipe = TrialRow(0, "completed", 0.6, {})
    assert search(direction, baseline=recipe).gain == pytest.approx(gain)
    assert search(direction, baseline=TrialRow(0, "diverged", 0.6, {})).gain is None
    assert search(direction).gain is None
