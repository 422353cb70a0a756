"""Figures that are said as tables: the panels that have data, their lines, and axes that fit them."""

from __future__ import annotations

import math
import warnings

from tflbt.report import figure_files
from tflbt.report.measures.panels import Line, Panel, PanelFigure
from tflbt.runs.history import History

FIGURE = PanelFigure(
    "both",
    "Both",
    "Two panels.",
    (
        Panel("first", (Line("a", "a", "train"), Line("size", "size", "muted", "--")), ("a",)),
        Panel("second", (Line("b", "b", "rate"), Line("c", "c", "input", ":"))),
    ),
)


def drawn(rows):
    figure = FIGURE.draw(History([{"epoch": n, **row} for n, row in enumerate(rows, 1)]))
    return figure and {
        axes.get_ylabel(): {
            line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
            for line in axes.lines
        }
        for axes in figure.axes
    }


def test_panels_and_lines_with_data_are_drawn():
    assert drawn([{"a": 1.0, "size": 8, "b": None}, {"a": math.nan, "size": 8, "b": 2.0}]) == {
        "first": {"a": ([1], [1.0]), "size": ([1, 2], [8.0, 8.0])},
        "second": {"b": ([2], [2.0])},
    }
    assert drawn([{"size": 8, "c": -1.0}]) == {"second": {"c": ([1], [-1.0])}}
    assert drawn([{"size": 8}]) is None


def test_a_wide_range_has_a_logarithmic_axis_and_any_number_is_drawn(tmp_path):
    assert list(drawn([{"a": 1.0}, {"a": 100.0}])) == ["first (log scale)"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in (-1.0, math.inf):
            figure = FIGURE.draw(History([{"epoch": 1, "a": 1.0}, {"epoch": 2, "a": value}]))
            figure_files.save_inline({"both": figure}, tmp_path)
