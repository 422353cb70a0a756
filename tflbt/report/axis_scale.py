"""Scales of vertical axes: percent, logarithmic, and the sizes of batches."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

_LOG_SPAN = 20  # largest over smallest value from which a logarithmic axis reads better
_LONG = 40  # values (both series) from which an axis may leave out the steep start
_NEAR = 1.3  # two sizes with a smaller ratio have no room for a label each


def percent(axes: Axes, values: Sequence[float]) -> None:
    """Sets a vertical axis in percent; the first steep epochs of a long run may leave below.

    Args:
        axes: The axes.
        values: Shares between 0 and 1 that are drawn.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().add_subplot()
        >>> percent(axes, [0.1, 0.5])
        >>> axes.yaxis.get_major_formatter()(0.5, 0)
        '50%'
    """
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}%"))
    finite = sorted(value for value in values if math.isfinite(value))
    if len(finite) < _LONG:
        return
    usual, top = finite[len(finite) // 5], finite[-1]
    axes.set_ylim(max(finite[0], usual - 1.2 * (top - usual)) - 0.002, top + 0.08 * (top - usual))


def log_if_wide(axes: Axes, values: Sequence[float]) -> None:
    """Makes the vertical axis logarithmic if the values are positive and span a lot.

    Args:
        axes: The axes, labelled.
        values: What is drawn.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().add_subplot(ylabel="loss")
        >>> log_if_wide(axes, [0.001, 1.0])
        >>> axes.get_ylabel()
        'loss (log scale)'
    """
    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) / min(finite) > _LOG_SPAN:
        axes.set_ylabel(f"{axes.get_ylabel()} (log scale)")
        log(axes, finite)


def log(axes: Axes, values: Sequence[float]) -> None:
    """Sets a logarithmic vertical axis with plain numbers on it.

    Args:
        axes: The axes.
        values: What is drawn; at least one finite value, all of these above 0.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().add_subplot()
        >>> log(axes, [0.1, 1.0])
        >>> axes.get_yscale()
        'log'
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    axes.set_yscale("log")
    axes.set_ylim(low / 1.4, high * 1.4)
    span = high / low
    steps = (1, 2, 5) if 4 <= span < 1e3 else range(1, 10) if span < 4 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def sizes(axes: Axes, values: Sequence[float]) -> None:
    """Sets a logarithmic vertical axis whose labels are the batch sizes that occur, if there is room for them.

    Args:
        axes: The axes.
        values: What is drawn; at least one finite value, all of these above 0.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().add_subplot()
        >>> sizes(axes, [128, 640, 3200])
        >>> [int(tick) for tick in axes.get_yticks()]
        [128, 640, 3200]
    """
    found = sorted({value for value in values if math.isfinite(value)})
    axes.set_yscale("log", base=2)
    near = any(after / before < _NEAR for before, after in zip(found, found[1:]))
    if len(found) <= 8 and not near:
        axes.set_yticks(found)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())
