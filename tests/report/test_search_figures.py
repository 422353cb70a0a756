"""The figures of a search show every trial where it was, and the best."""

from __future__ import annotations

import math
import warnings

import pytest

from tflbt.report import (
    figure_style,
    search_figures,
    search_marks,
)
from tflbt.report.figure_style import HALF, WHOLE
from tflbt.report.search_history import TrialRow

RATE, BETA, WARMUP = "optimizer.learning_rate", "schedule.beta", "warmup.epochs"
NAN = math.nan


def drawn(axes, label):
    """Horizontal and vertical values of the line with a label."""
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return list(line.get_xdata()), list(line.get_ydata())


def at_the_bottom(axes):
    """Trials that stand at the bottom: no value of the vertical axis is theirs."""
    return [
        (line.get_marker(), list(line.get_xdata()))
        for line in axes.lines
        if line.get_transform() == axes.get_xaxis_transform() and line.get_marker() != "None"
    ]


def test_statuses_have_markers_of_their_own_and_the_stair_is_the_running_best(search, scattered):
    axes = search_figures.draw(search(scattered))["objective"].axes[0]
    assert drawn(axes, "completed") == ([1, 2], [0.90, 0.97])
    assert drawn(axes, "stopped") == ([3], [0.94])
    assert drawn(axes, "failed") == ([5], [0.98])
    assert drawn(axes, "best so far") == ([1, 2, 3, 4, 5, 6], [0.90] + [0.97] * 5)
    assert at_the_bottom(axes) == [("x", [4]), ("d", [6])]
    (ring,) = [line for line in axes.lines if line.get_fillstyle() == "none"]
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([2], [0.97])
    markers = [marker for marker, _ in search_marks.MARKS.values()]
    assert len(set(markers)) == len(markers) == 5
    assert [text.get_text() for text in axes.texts] == ["97.00%"]
    assert axes.get_xlabel() == "trial" and axes.get_ylabel() == "val accuracy"


def test_the_value_of_the_best_stands_at_the_end_of_its_line(search, scattered):
    recipe = TrialRow(0, "completed", 0.2, {})
    axes = search_figures.draw(search(scattered, baseline=recipe))["objective"].axes[0]
    height = axes.transAxes.inverted().transform(axes.transData.transform((0, 0.97)))[1]
    assert axes.texts[0].get_position()[1] == pytest.approx(height)
    assert drawn(axes, "recipe as it is")[1] == [0.2, 0.2]


def test_the_worst_of_many_trials_is_seen(search):
    rows = [("completed", 0.9 + n / 1000, {}) for n in range(80)]
    axes = search_figures.draw(search([*rows, ("completed", 0.1, {})]))["objective"].axes[0]
    assert axes.get_ylim()[0] < 0.1


def test_a_recipe_that_broke_has_no_line(search, scattered):
    figure = search_figures.draw(search(scattered, baseline=TrialRow(0, "diverged", 0.2, {})))
    assert "recipe as it is" not in [line.get_label() for line in figure["objective"].axes[0].lines]


def test_a_loss_that_spans_a_lot_has_a_log_axis_and_its_smallest_wins(search):
    rows = [("completed", value, {RATE: value}) for value in (3.0, 0.01, 0.5)]
    axes = search_figures.draw(search(rows, "min", "val_loss"))["objective"].axes[0]
    assert axes.get_yscale() == "log" and axes.texts[0].get_text() == "0.01"
    assert drawn(axes, "best so far")[1] == [3.0, 0.01, 0.01]


def test_without_an_objective_it_says_so(search):
    axes = search_figures.draw(search([("failed", NAN, {})]))["objective"].axes[0]
    assert [text.get_text() for text in axes.texts] == ["no trial has an objective"]
    assert at_the_bottom(axes) == [("P", [1])]


def test_a_large_grid_takes_the_whole_width_and_so_does_what_is_beside_it(search, grid):
    figures = search_figures.draw(search(grid(rates=range(1, 9))))
    assert [figure.get_figwidth() for figure in figures.values()] == [WHOLE[0]] * 3
    figures = search_figures.draw(search(grid()))
    assert [figure.get_figwidth() for figure in figures.values()] == [HALF[0], HALF[0], WHOLE[0]]


@pytest.mark.parametrize(
    "rows",
    [
        [("running", NAN, {RATE: 1.0})],
        [("completed", 0.9, {RATE: 1.0, BETA: 0.5})],
        [("completed", 0.9, {})] * 3,
        [("completed", 0.0, {RATE: 1.0, BETA: n}) for n in range(3)],
        [("diverged", NAN, {RATE: n + 1.0, BETA: n}) for n in range(3)],
        [("diverged", 0.1, {RATE: 1.0 * n, "name": "x"}) for n in range(3)],
        [("completed", -1.0 * n, {RATE: 10.0**n, BETA: 10.0**-n}) for n in range(30)],
        [("completed", 1e9, {f"a.very_long_name_{k}": k * n for k in range(9)}) for n in (1, 2)],
        [("completed", 0.5, {RATE: n, BETA: m}) for n in range(12) for m in range(12)],
    ],
)
@pytest.mark.parametrize(("objective", "direction"), [("val_accuracy", "max"), ("loss", "min")])
def test_any_search_is_drawn_without_a_warning(search, rows, objective, direction):
    history = search(rows, direction, objective, log=[RATE])
    with warnings.catch_warnings(), figure_style.settings():
        warnings.simplefilter("error")
        for figure in search_figures.draw(history).values():
            figure.draw_without_rendering()


def test_a_search_with_every_status_is_drawn_without_a_warning(search, scattered):
    with warnings.catch_warnings(), figure_style.settings():
        warnings.simplefilter("error")
        for figure in search_figures.draw(search(scattered, log=[RATE])).values():
            figure.draw_without_rendering()


def test_a_search_that_has_only_trained_the_recipe_has_no_figures(search):
    assert search_figures.draw(search([], baseline=TrialRow(0, "completed", 0.9, {}))) == {}
