"""Scales of vertical axes: percent, logarithmic, and the sizes of batches."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

_LOG_SPAN = 20  # ratio of largest to smallest value from which a logarithmic axis reads better
_LONG = 40  # number of values (both series) from which an axis may leave out the steep start
_NEAR = 1.3  # two sizes with a smaller ratio have no room for both labels


def percent(axes: Axes, values: Sequence[float]) -> None:
    """Sets a vertical axis in percent; the steep first epochs of a long run may fall below it."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}%"))
    finite = sorted(value for value in values if math.isfinite(value))
    if len(finite) < _LONG:
        return
    usual, top = finite[len(finite) // 5], finite[-1]
    axes.set_ylim(max(finite[0], usual - 1.2 * (top - usual)) - 0.002, top + 0.08 * (top - usual))


def log_if_wide(axes: Axes, values: Sequence[float]) -> None:
    """Makes the vertical axis of labelled axes logarithmic if the values are positive and span a wide range."""
    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) / min(finite) > _LOG_SPAN:
        axes.set_ylabel(f"{axes.get_ylabel()} (log scale)")
        log(axes, finite)


def log(axes: Axes, values: Sequence[float]) -> None:
    """Sets a logarithmic vertical axis with plain numbers on it; every finite value must be above 0."""
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
    """Sets a logarithmic vertical axis labelled with the batch sizes that occur, if there is room for them."""
    found = sorted({value for value in values if math.isfinite(value) and value > 0})
    axes.set_yscale("log", base=2)
    near = any(after / before < _NEAR for before, after in zip(found, found[1:]))
    if len(found) <= 8 and not near:
        axes.set_yticks(found)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())
