"""Margin and loss over the epochs, and where the loss has been flat for ten."""

from __future__ import annotations

import pytest

from tflbt.report import captions, figures
from tflbt.report.figure_style import COLOURS
from tflbt.report.measures import margin_figure
from tflbt.report.several.groups import Group
from tflbt.runs.history import History


def test_margin_loss_and_plateau():
    losses = [5.0, 4.0, 3.0, *[3.0 + 0.1 * (n % 2) for n in range(15)], 2.9]
    rows = [{"epoch": n, "loss": loss} for n, loss in enumerate(losses, start=1)]
    for row in rows[1::2]:
        row["margin"] = 10.0 * row["epoch"]
    history = History(rows)
    figure = figures.draw(history)["margin"]
    left, right = figure.axes
    margin, flat = left.lines
    assert list(margin.get_xdata()) == list(range(2, 20, 2))
    assert list(margin.get_ydata()) == [10.0 * n for n in range(2, 20, 2)]
    assert flat.get_xdata()[0] == 13 and flat.get_color() == COLOURS["ink"]  # 3 + 10 epochs
    assert list(right.lines[0].get_ydata()) == losses
    assert "ten without" in captions.caption("margin", history)
    assert "margin" not in figures.draw(History([{"epoch": 1, "loss": 1.0}]))


def test_a_panel_per_batch_size():
    rows = [{"epoch": n, "loss": 1.0 / n, "margin": float(n)} for n in range(1, 4)]
    groups = [Group(name, {}, {name: History(rows)}) for name in ("small", "large", "huge")]
    figure = margin_figure.compare(groups)
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.get_title()]
    assert [axes.get_title() for axes in shown] == ["small", "large", "huge"]
    assert list(shown[2].lines[0].get_ydata()) == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="^none has no margins"):
        margin_figure.compare([Group("none", {}, {"none": History(rows[:0] + [{"epoch": 1}])})])
