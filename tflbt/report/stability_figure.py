"""The figure of `StabilityMonitor`: the sharpest mini-batch, and the curvature up to which SGD is stable."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure

from tflbt.report import axis_scale, figure_style, phase_marks
from tflbt.report.figure_style import COLOURS, WHOLE
from tflbt.runs.history import History

# Column, name, role in COLOURS, line style.
_LINES = (
    ("stability_eigenvalue", "λmax", "eigenvalue", "-"),
    ("stability_mean", "mean λ", "eigenvalue", ":"),
    ("stability_limit", "2 / learning rate", "rate", "-"),
    ("stability_limit_momentum", "with momentum", "rate", "--"),
)


def draw(history: History) -> Figure | None:
    """Draws the eigenvalues and limits at the epochs at which they were measured, on a logarithmic axis.

    Values that have no place on such an axis (at most 0, infinite, NaN) are left out; None if no eigenvalue remains.

    Source: Theorem 1 of `batch-augmentation.txt`.
    """
    measured = {column: _points(history, column) for column, *_ in _LINES}
    if not measured["stability_eigenvalue"]:
        return None
    figure, axes = figure_style.axes_of(WHOLE, history.epochs, "Hessian eigenvalue (log scale)")
    for column, name, role, style in _LINES:
        points = measured[column]
        if points:
            dots = "o" if len(points) <= 25 else None
            look: dict[str, Any] = {"linewidth": 1.8, "marker": dots, "markersize": 3.6}
            axes.plot(*zip(*points), color=COLOURS[role], label=name, linestyle=style, **look)
    axis_scale.log(axes, [value for points in measured.values() for _, value in points])
    phase_marks.shade(axes, history)
    phase_marks.mark_growth(axes, history)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def _points(history: History, column: str) -> list[tuple[int, float]]:
    """Returns the epochs and values that a logarithmic axis can show."""
    pairs = zip(history.epochs, history.series(column))
    return [(epoch, value) for epoch, value in pairs if 0 < value < math.inf]
