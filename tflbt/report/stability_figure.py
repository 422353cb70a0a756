"""The figure of `StabilityMonitor`: the sharpest mini-batch against the curvature up to which SGD is stable."""

from __future__ import annotations

import math

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
    """Draws the eigenvalues and the limits over the epochs at which they were measured, on a logarithmic axis.

    Values that have no place on such an axis (at most 0, infinite, nan) are left out.

    Args:
        history: The epochs of a run.

    Returns:
        The figure; None if there is no eigenvalue to draw.

    Example:
        >>> row = {"epoch": 1, "stability_eigenvalue": 30.0, "stability_limit": 20.0}
        >>> len(draw(History([row])).axes[0].lines), draw(History([{"epoch": 1}]))
        (2, None)

    Source: Theorem 1 of `batch-augmentation.txt`.
    """
    found = {column: _points(history, column) for column, *_ in _LINES}
    if not found["stability_eigenvalue"]:
        return None
    figure, axes = figure_style.axes_of(WHOLE, history.epochs, "Hessian eigenvalue (log scale)")
    for column, name, role, style in _LINES:
        points = found[column]
        if points:
            axes.plot(
                *zip(*points),
                color=COLOURS[role],
                label=name,
                linestyle=style,
                linewidth=1.8,
                marker="o" if len(points) <= 25 else None,
                markersize=3.6,
            )
    axis_scale.log(axes, [value for points in found.values() for _, value in points])
    phase_marks.shade(axes, history)
    phase_marks.mark_growth(axes, history)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def _points(history: History, column: str) -> list[tuple[int, float]]:
    """Epochs and values that a logarithmic axis can show."""
    pairs = zip(history.epochs, history.series(column))
    return [(epoch, value) for epoch, value in pairs if 0 < value < math.inf]
