"""Surfaces and cuts are drawn with their marks, labels and panels."""

from __future__ import annotations

import numpy as np

from tflbt.report.measures import landscape_figure


def test_a_surface_and_its_contours():
    values = np.linspace(-0.2, 1.2, 8)
    first, second = np.meshgrid(values, values, indexing="ij")
    losses = 1 + (first - 1) ** 2 + 2 * second**2
    losses[0, 0] = np.inf
    marks = {"epoch 0": (0, 0), "large": (1, 0)}
    for log in (False, True):
        figure = landscape_figure.surface(values, losses, ("a", "b"), marks, log)
        solid, flat, bar = figure.axes
        assert solid.name == "3d" and solid.get_title() == ("log₁₀ loss" if log else "loss")
        assert [text.get_text() for text in flat.texts] == ["epoch 0", "large"]
        assert (flat.get_xlabel(), flat.get_ylabel()) == ("a", "b")
        assert flat.lines[1].get_xdata()[0] == 1 and bar.get_ylabel() == "loss"


def test_a_panel_per_epoch_and_a_line_per_run():
    cut = {"distances": [-1, 0, 1], "losses": [3.0, 1.0, 2.0], "eigenvalue": 3.0}
    found = [[cut, {**cut, "losses": [1.0, 1.0, 1.0]}] for _ in range(4)]
    figure = landscape_figure.cuts([1, 11, 21, 81], ["sbs", "lbs"], found)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["epoch 1", "epoch 11", "epoch 21", "epoch 81"]
    assert [line.get_label() for line in shown[3].lines] == ["sbs", "lbs"]
    assert list(shown[0].lines[0].get_ydata()) == [3.0, 1.0, 2.0]
