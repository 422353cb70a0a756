"""Distances with their fits, of one run and of several."""

from __future__ import annotations

import numpy as np
import pytest

from tflbt.report import captions, figures
from tflbt.report.measures import diffusion_figure
from tflbt.report.several.groups import Group
from tflbt.runs.history import History

T = [1, 2, 5, 10, 20, 50, 100]


def history(law, warmup=0.0, until=7):
    rows = [{"epoch": 1 + (t > 2), "updates": t, "distance": float(law(t))} for t in T[:until]]
    return History([{"epoch": 1, "loss": 1.0}], rows, warmup)


def test_points_and_both_fits():
    found = history(lambda t: 2 + 3 * np.log10(t) if t > 2 else 9.0, warmup=1.0)
    (axes,) = figures.draw(found)["diffusion"].axes
    measured, log, root = axes.lines
    assert list(measured.get_xdata()) == T and axes.get_xscale() == "log"
    assert log.get_label() == "2 + 3 log₁₀ t, R² = 1.000" and "√t" in root.get_label()
    assert log.get_xdata()[0] == pytest.approx(2) and log.get_xdata()[-1] == pytest.approx(100)
    np.testing.assert_allclose(log.get_ydata()[-1], 8)
    assert "square root" in captions.caption("diffusion", found)
    assert "diffusion" not in figures.draw(History(found.rows))
    others = [{"epoch": 2, "updates": 7, "distance": "x"}, {"epoch": None, "distance": 1.0}]
    assert diffusion_figure.draw(History(found.rows, others)) is None


def test_groups_are_drawn_at_the_mean_of_their_seeds():
    seeds = {"a": history(lambda t: t), "b": history(lambda t: 3 * t, until=5)}
    t, d = diffusion_figure.mean_distances(Group("small", {}, seeds))
    assert (t, d) == (T[:5], [2 * t for t in T[:5]])
    groups = [Group("small", {}, seeds), Group("large", {}, {"c": history(np.sqrt)})]
    (axes,) = diffusion_figure.compare(groups).axes
    labels = [line.get_label().split("\n") for line in axes.lines]
    assert [name for name, *_ in labels] == ["small (2 seeds)", "large"]
    assert "log₁₀ t, R² = " in labels[1][1] and labels[1][2] == "1 √t, R² = 1.000, slope 0.500"
    with pytest.raises(ValueError, match="^d has no distances"):
        diffusion_figure.compare([Group("none", {}, {"d": History([{"epoch": 1}])})])
