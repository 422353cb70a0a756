"""Curves of several runs: means and deviations by NumPy, one line per group."""

from __future__ import annotations

import numpy as np
import pytest

from tflbt.report.several import curves
from tflbt.report.several.groups import Group, by_seed
from tflbt.runs.history import History


def test_mean_and_band_are_those_of_numpy(make_run):
    (group,) = by_seed([make_run("lars", 64, 0.9, seed) for seed in (0, 1, 2)])
    found = curves.curve(group, "loss", "second")
    losses = np.array([[1.0 / epoch + seed for epoch in (1, 2, 3)] for seed in (0, 1, 2)])
    np.testing.assert_allclose(found.mean, losses.mean(0))
    np.testing.assert_allclose(found.deviation, losses.std(0, ddof=1))
    np.testing.assert_allclose(found.x, [3.0, 6.0, 9.0])  # seconds add up; the mean of the seeds'
    assert curves.curve(group, "loss", "sample").x == [640, 1280, 1920]


def test_a_mean_ends_where_the_first_run_does():
    whole = History([{"epoch": n, "loss": float(n)} for n in (1, 2, 3)])
    lost = History([{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": float("nan")}])
    found = curves.curve(Group("", {}, {"a": whole, "b": lost}), "loss")
    assert (found.x, found.mean) == ([1.0], [2.0])


def test_a_line_per_group_and_a_band_for_several_seeds(make_run):
    runs = [make_run("lars", 64, 0.9), make_run("lars", 64, 0.8, 1), make_run("sgd", 64, 0.7)]
    groups = by_seed(runs)
    assert curves.columns_of(groups) == ["loss", "val_accuracy"]
    figure = curves.draw(groups, "val_accuracy", "update")
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["lars (2 seeds)", "sgd"]
    assert len(axes.collections) == 1 and axes.get_xlabel() == "update"
    assert list(axes.lines[1].get_xdata()) == [10, 20, 30]
    with pytest.raises(ValueError, match="^columns='eigenvalue': none"):
        curves.draw(groups, "eigenvalue")
    with pytest.raises(ValueError, match="^over='day'"):
        curves.curve(groups[0], "loss", "day")
