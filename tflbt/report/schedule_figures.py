"""Figures of a schedule: learning rate, batch size, ranks, eigenvalue, adversarial share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tflbt.report import axis_scale, figure_style, phase_marks
from tflbt.report.figure_style import COLOURS, WHOLE
from tflbt.runs.history import History

_HEIGHT = 2.0  # inches per panel if there are several


def draw(history: History) -> dict[str, Figure]:
    """Returns the figures with data by name: `ranks`, `learning_rate`, `eigenvalue`, ..., or `batch_size`.

    A run whose batch size changes has `batch_size` alone, with a panel for each: batch size, ranks where they came or
    went, learning rate, eigenvalue and adversarial share below each other, with marks where the batch grew.

    Source: Fig. 2 of `abs-absa.txt`.
    """
    panels = [name for name, (has_data, _) in _PANELS.items() if has_data(history)]
    if "batch_size" in panels:
        return {"batch_size": _figure(history, panels)}
    return {name: _figure(history, [name]) for name in panels}


def _figure(history: History, panels: Sequence[str]) -> Figure:
    """Returns one figure with these panels above each other."""
    size = WHOLE if len(panels) == 1 else (WHOLE[0], 0.4 + _HEIGHT * len(panels))
    figure = Figure(figsize=size, layout="constrained")
    columns = figure.subplots(len(panels), sharex=True, squeeze=False)
    for axes, name in zip(columns[:, 0], panels):
        figure_style.over_epochs(axes, history.epochs)
        _PANELS[name][1](axes, history)
        phase_marks.mark_growth(axes, history)
        axes.label_outer()
    figure.align_ylabels()
    return figure


def _batch_size(axes: Axes, history: History) -> None:
    """Draws the batch size of each epoch's last update."""
    axes.set_ylabel("batch size")
    sizes = history.series("batch_size")
    _steps(axes, history, sizes, "train")
    axis_scale.sizes(axes, sizes)
    phase_marks.shade(axes, history)


def _ranks(axes: Axes, history: History) -> None:
    """Draws how many ranks trained in each epoch."""
    axes.set_ylabel("ranks")
    numbers = history.series("ranks")
    _steps(axes, history, numbers, "communication")
    axes.set_ylim(0, 1.15 * max(number for number in numbers if math.isfinite(number)))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))


def _learning_rate(axes: Axes, history: History) -> None:
    """Draws the learning rate of each epoch's last update, with the phase switch and every decay."""
    axes.set_ylabel("learning rate (log scale)")
    rates = [rate if rate > 0 else math.nan for rate in history.series("learning_rate")]
    _steps(axes, history, rates, "rate")
    if any(math.isfinite(rate) for rate in rates):
        axis_scale.log(axes, rates)
    _mark_phases(axes, history)


def _eigenvalue(axes: Axes, history: History) -> None:
    """Draws the largest Hessian eigenvalue that was measured in each epoch."""
    axes.set_ylabel("largest eigenvalue")
    values = history.series("eigenvalue")
    figure_style.line(axes, history.epochs, values, "eigenvalue")
    axis_scale.log_if_wide(axes, values)
    _mark_phases(axes, history)


def _mark_phases(axes: Axes, history: History) -> None:
    """Marks the phases, with their names, and every decay."""
    phase_marks.shade(axes, history, named=True)
    phase_marks.mark_decays(axes, history)


def _adversarial_ratio(axes: Axes, history: History) -> None:
    """Draws the share of each batch that is adversarial."""
    axes.set_ylabel("adversarial share")
    shares = history.series("adversarial_ratio")
    _steps(axes, history, shares, "adversarial")
    axes.set_ylim(bottom=0)
    axis_scale.percent(axes, [])


def _steps(axes: Axes, history: History, values: Sequence[float], role: str) -> None:
    """Draws a value that holds from an epoch's beginning to its end."""
    epochs = [history.epochs[0] - 1, *history.epochs]
    look: dict[str, Any] = {"color": COLOURS[role], "linewidth": 2, "drawstyle": "steps-pre"}
    axes.plot(epochs, [values[0], *values], **look)


def changes(history: History, column: str) -> bool:
    """True if a column has several values during the run."""
    return len({value for value in history.series(column) if math.isfinite(value)}) > 1


def _has_adversaries(history: History) -> bool:
    """True if any sample was adversarial."""
    return any(share > 0 for share in history.series("adversarial_ratio"))


# By name: whether there is something to draw, and the function that draws it.
_PANELS: dict[str, tuple[Callable[[History], bool], Callable[[Axes, History], None]]] = {
    "batch_size": (lambda history: changes(history, "batch_size"), _batch_size),
    "ranks": (lambda history: changes(history, "ranks"), _ranks),
    "learning_rate": (lambda history: history.has("learning_rate"), _learning_rate),
    "eigenvalue": (lambda history: history.has("eigenvalue"), _eigenvalue),
    "adversarial_ratio": (_has_adversaries, _adversarial_ratio),
}
