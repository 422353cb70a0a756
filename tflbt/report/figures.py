"""The figures of a run: loss, accuracy, learning rate, eigenvalue, batch size over the epochs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from tflbt.report import atomic_file, figure_style, phase_marks
from tflbt.report.figure_style import COLOURS, HALF, WHOLE
from tflbt.report.history import History, is_accuracy

_LOG_SPAN = 20  # largest over smallest value from which a logarithmic axis reads better
_LONG = 40  # values (both series) from which an axis may leave out the steep start


def draw(history: History) -> dict[str, Figure]:
    """Draws what the epochs give: a figure without data is left out.

    Args:
        history: The epochs of a run.

    Returns:
        Figures by name, in the order of the page: `loss`, `accuracy` (whatever the metric),
        `learning_rate`, `eigenvalue`, `batch_size` (if it changes).

    Example:
        >>> list(draw(History([{"epoch": 1, "loss": 0.5, "learning_rate": 0.1}])))
        ['loss', 'learning_rate']
    """
    if not history.rows:
        return {}
    makers: dict[str, Callable[[History], Figure | None]] = {
        "loss": _loss,
        "accuracy": _metric,
        "learning_rate": _learning_rate,
        "eigenvalue": _eigenvalue,
        "batch_size": _batch_size,
    }
    with figure_style.settings():
        made = {name: maker(history) for name, maker in makers.items()}
    return {name: figure for name, figure in made.items() if figure is not None}


def write(history: History, folder: str | os.PathLike[str]) -> list[str]:
    """Draws the figures and saves each as PNG and SVG.

    Args:
        history: The epochs of a run.
        folder: Where to; made if missing.

    Returns:
        The names of the figures.

    Raises:
        OSError: If a file cannot be written; names it.

    Example:
        >>> import tempfile
        >>> write(History([{"epoch": 1, "loss": 0.5}]), tempfile.mkdtemp())
        ['loss']
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise atomic_file.naming(error, folder, "cannot make the folder") from error
    figures = draw(history)
    with figure_style.settings():
        for name, figure in figures.items():
            figure_style.save(figure, folder, name)
    return list(figures)


def _loss(history: History) -> Figure | None:
    """Training and validation loss; epochs at which the loss is not a number are marked."""
    if not any(row.get("loss") is not None for row in history.rows):
        return None
    figure, axes = figure_style.axes_of(HALF, history.epochs, "loss")
    _pair(axes, history, "loss")
    lost = [e for e, v in zip(history.epochs, history.series("loss")) if not math.isfinite(v)]
    if lost:
        axes.text(
            0.5,
            0.9,
            f"not finite from epoch {lost[0]}" if len(lost) > 1 else f"not finite: epoch {lost[0]}",
            color=COLOURS["validation"],
            transform=axes.transAxes,
            horizontalalignment="center",
            fontweight="bold",
        )
    return figure


def _metric(history: History) -> Figure | None:
    """The accuracy, or whichever metric there is, with its best validation value."""
    name = history.metric
    if name is None:
        return None
    label = name.replace("_", " ")
    figure, axes = figure_style.axes_of(HALF, history.epochs, label)
    best = history.best(f"val_{name}") if is_accuracy(name) else None
    _pair(axes, history, name)
    if best is not None and len(history.rows) > 1:
        axes.plot(*best, "o", color=COLOURS["validation"], markersize=7, fillstyle="none")
        axes.text(
            0.97,
            0.06,
            f"best {best[1]:.2%}, epoch {best[0]}",
            color=COLOURS["validation"],
            transform=axes.transAxes,
            horizontalalignment="right",
        )
    return figure


def _learning_rate(history: History) -> Figure | None:
    """The learning rate of each epoch, with the phase switch and every decay."""
    if not history.has("learning_rate"):
        return None
    figure, axes = figure_style.axes_of(WHOLE, history.epochs, "learning rate (log scale)")
    rates = [rate if rate > 0 else math.nan for rate in history.series("learning_rate")]
    epochs = history.epochs
    axes.plot(
        [epochs[0] - 1, *epochs],
        [rates[0], *rates],
        color=COLOURS["rate"],
        linewidth=2,
        drawstyle="steps-pre",
    )
    if any(math.isfinite(rate) for rate in rates):
        _log_axis(axes, rates)
    phase_marks.shade(axes, history, named=True)
    phase_marks.mark_decays(axes, history)
    return figure


def _eigenvalue(history: History) -> Figure | None:
    """The largest Hessian eigenvalue at each epoch's end."""
    if not history.has("eigenvalue"):
        return None
    figure, axes = figure_style.axes_of(WHOLE, history.epochs, "largest eigenvalue")
    values = history.series("eigenvalue")
    figure_style.line(axes, history.epochs, values, "eigenvalue")
    _maybe_log(axes, values)
    phase_marks.shade(axes, history, named=True)
    phase_marks.mark_decays(axes, history)
    return figure


def _batch_size(history: History) -> Figure | None:
    """The batch size, if it changes."""
    sizes = [size for size in history.series("batch_size") if math.isfinite(size)]
    if len(set(sizes)) < 2:
        return None
    figure, axes = figure_style.axes_of(WHOLE, history.epochs, "batch size (samples)")
    values, epochs = history.series("batch_size"), history.epochs
    axes.plot(
        [epochs[0] - 1, *epochs],
        [values[0], *values],
        color=COLOURS["train"],
        linewidth=2,
        drawstyle="steps-pre",
    )
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    phase_marks.shade(axes, history)
    return figure


def _pair(axes: Axes, history: History, name: str) -> None:
    """Draws a column and its validation twin, named at their ends."""
    drawn = []
    for column, label in ((name, "train"), (f"val_{name}", "validation")):
        if history.has(column):
            values = history.series(column)
            figure_style.line(axes, history.epochs, values, label)
            drawn.append((values, label, label))
    everything = [value for values, _, _ in drawn for value in values]
    if is_accuracy(name):
        _percent(axes, everything)
    else:
        _maybe_log(axes, everything)
    phase_marks.shade(axes, history)
    figure_style.label_ends(axes, drawn)


def _percent(axes: Axes, values: Sequence[float]) -> None:
    """Sets a vertical axis in percent; the first steep epochs of a long run may leave below."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}%"))
    finite = sorted(value for value in values if math.isfinite(value))
    if len(finite) < _LONG:
        return
    usual, top = finite[len(finite) // 5], finite[-1]
    axes.set_ylim(max(finite[0], usual - 1.2 * (top - usual)) - 0.002, top + 0.08 * (top - usual))


def _maybe_log(axes: Axes, values: Sequence[float]) -> None:
    """Makes the vertical axis logarithmic if the values are positive and span a lot."""
    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) / min(finite) > _LOG_SPAN:
        axes.set_ylabel(f"{axes.get_ylabel()} (log scale)")
        _log_axis(axes, finite)


def _log_axis(axes: Axes, values: Sequence[float]) -> None:
    """Sets a logarithmic vertical axis with plain numbers on it."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    axes.set_yscale("log")
    axes.set_ylim(low / 1.4, high * 1.4)
    span = high / low
    steps = (1, 2, 5) if 4 <= span < 1e3 else range(1, 10) if span < 4 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
