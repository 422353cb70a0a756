"""Trials of a search are told apart by markers and shades, on axes that fit their values."""

from __future__ import annotations

import math

import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from tflbt.report import (
    search_marks,
)
from tflbt.report.figure_style import COLOURS
from tflbt.report.search_history import HyperParameter

RATE, BETA, WARMUP = "optimizer.learning_rate", "schedule.beta", "warmup.epochs"
NAN = math.nan


@pytest.mark.parametrize(
    ("log", "values", "expected"),
    [
        (False, [1, 20], False),
        (False, [1, 20.5], True),
        (True, [1, 2], True),
        (False, [0, 50], False),
        (True, [-1, 5], False),
        (True, [], False),
    ],
)
def test_what_is_drawn_by_logarithm(log, values, expected):
    assert search_marks.is_log(HyperParameter("a", log=log), values) is expected


@pytest.mark.parametrize("direction", ["max", "min"])
def test_the_better_the_denser(search, direction):
    rows = [("completed", value, {}) for value in (0.5, 0.7, 0.6)]
    shades = search_marks.shades(search(rows, direction))
    dense = [shades.colours(shades.norm(value))[3] for value in (0.5, 0.6, 0.7)]
    assert dense == sorted(dense, reverse=direction == "min") and len(set(dense)) == 3
    assert shades.extend == "neither"
    assert same_color(shades.colours(0.5)[:3], COLOURS["train"])


def test_an_outlier_does_not_wash_out_the_rest(search):
    values = [0.90, 0.91, 0.92, 0.93, 0.1]
    shades = search_marks.shades(search([("completed", v, {}) for v in values]))
    # Four times as far from the best, 0.93, as the median, 0.91.
    assert (shades.norm.vmin, shades.norm.vmax) == pytest.approx((0.85, 0.93))
    assert shades.extend == "min"
    losses = [("completed", -v, {}) for v in values]
    shades = search_marks.shades(search(losses, "min"))
    assert (shades.norm.vmin, shades.norm.vmax) == pytest.approx((-0.93, -0.85))
    assert shades.extend == "max"


@pytest.mark.parametrize("direction", ["max", "min"])
def test_a_single_value_is_the_best(search, direction):
    shades = search_marks.shades(search([("completed", 0.5, {})] * 3, direction))
    assert shades.colours(shades.norm(0.5))[3] == pytest.approx(0.65)


def test_the_axis_of_whole_numbers_and_of_logarithms():
    axes = Figure().add_subplot()
    search_marks.scale(axes.xaxis, HyperParameter("warmup.epochs"), [0, 5, 10])
    assert (axes.get_xlabel(), axes.get_xscale()) == ("warmup.epochs", "linear")
    assert all(tick == int(tick) for tick in axes.get_xticks())
    search_marks.scale(axes.yaxis, HyperParameter("rate", log=True), [0.5, 0.5])
    assert (axes.get_ylabel(), axes.get_yscale()) == ("rate (log scale)", "log")
    assert axes.get_ylim()[0] < 0.5 < axes.get_ylim()[1]
