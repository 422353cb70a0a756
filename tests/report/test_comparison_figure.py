"""The figure of tuned recipes: a dot per seed, the mean, and the spread."""

from __future__ import annotations

import math

import numpy as np

from tflbt.analysis.tuned import Tuned
from tflbt.report import comparison_figure


def tuned(name, results):
    return Tuned(name, 12, 3, {}, 0.97, "val_accuracy", "max", results)


SGD = tuned("sgd", [0.94, 0.95, math.nan, 0.9575])
LARS = tuned("lars", [0.98, 0.97])
LOST = tuned("lost", [math.nan, math.inf])


def test_dots_mean_and_spread():
    (axes,) = comparison_figure.draw([SGD, LARS, LOST]).axes
    dots = {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    assert list(dots["sgd"].get_xdata()) == [0.94, 0.95, 0.9575]
    assert list(dots["lars"].get_xdata()) == [0.98, 0.97] and not list(dots["lost"].get_xdata())
    assert all(0.5 < y < 1.5 for y in dots["lars"].get_ydata())
    means = [list(bar.lines[0].get_xdata()) for bar in axes.containers]
    assert means == [[SGD.mean], [LARS.mean]]
    (segment,) = axes.containers[1].lines[2][0].get_segments()
    np.testing.assert_allclose(segment[:, 0], [0.975 - LARS.deviation, 0.975 + LARS.deviation])
    assert [text.get_text() for text in axes.texts] == [
        "94.92% ± 0.88%, 1 diverged",
        "97.50% ± 0.71%",
        "all diverged",
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sgd", "lars", "lost"]
    assert axes.yaxis.get_inverted()
