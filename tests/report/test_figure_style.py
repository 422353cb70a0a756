"""Lines, axes and labels look the same in every figure."""

from __future__ import annotations

import math

import matplotlib
import pytest

from tflbt.report import figure_style
from tflbt.report.figure_style import COLOURS, HALF


@pytest.fixture
def axes():
    return figure_style.axes_of(HALF, [1, 2, 3], "loss")[1]


def test_settings_are_put_back():
    before = matplotlib.rcParams["svg.fonttype"]
    with figure_style.settings():
        assert matplotlib.rcParams["svg.fonttype"] == "none"
    assert matplotlib.rcParams["svg.fonttype"] == before


def test_axes_lie_over_the_epochs(axes):
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss")
    assert axes.get_xlim()[0] == 0 and axes.get_xlim()[1] > 3
    assert not axes.spines["top"].get_visible() and axes.spines["left"].get_visible()


def test_short_series_and_isolated_points_have_dots(axes):
    figure_style.line(axes, [1, 2], [0.5, 0.4], "train")
    values = [1.0] * 40
    values[9] = values[11] = math.nan
    figure_style.line(axes, range(40), values, "validation")
    short, long = axes.lines
    assert short.get_markevery() is None and long.get_markevery() == [10]
    assert short.get_color() == COLOURS["train"]


def test_labels_at_the_ends_stand_apart(axes):
    figure_style.line(axes, [1, 2, 3], [0.0, 1.0, 0.5], "train")
    labels = [([0.0, 0.5], "train", "train"), ([0.0, 0.51], "validation", "validation")]
    figure_style.label_ends(axes, [*labels, ([math.nan], "absent", "rate")])
    low, high = axes.texts
    assert (low.get_text(), high.get_text()) == ("train", "validation")
    assert high.get_position()[1] - low.get_position()[1] == pytest.approx(0.085)


def test_long_names_stand_below_the_lines():
    for name, grows in (
        ("lars", False),
        ("a:variant batch_size=512 optimizer.learning_rate=0.2", True),
    ):
        figure, axes = figure_style.axes_of(figure_style.HALF, [1, 2], "loss")
        axes.plot([1, 2], [1, 2], label=name)
        figure_style.legend(figure)
        assert bool(figure.get_figheight() > figure_style.HALF[1]) == grows
        assert [text.get_text() for text in figure.legends[0].texts] == [name]
