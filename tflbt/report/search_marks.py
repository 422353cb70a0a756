"""How the figures of a search tell trials apart: a marker a status, a shade of one colour by objective."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axis import XAxis, YAxis
from matplotlib.colors import Colormap, ListedColormap, Normalize, to_rgba
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from tflbt.report.figure_style import COLOURS
from tflbt.report.search_history import HyperParameter, SearchHistory

# Marker and role in COLOURS of each status; the cross of a trial that broke is that of every figure.
MARKS = {
    "completed": ("o", "train"),
    "stopped": ("v", "adversarial"),
    "diverged": ("x", "validation"),
    "failed": ("P", "eigenvalue"),
    "running": ("d", "muted"),
}
BEST = "rate"  # the best trial's colour in every figure
BROKEN = "validation"
_LOG_SPAN = 20  # largest over smallest value from which a logarithmic axis reads better
_REACH = 4.0  # trials this many times as far from the best as the median share the faintest shade
# One hue, from clear to dense: it does on a light and on a dark page, under text of either.
_SHADES = ListedColormap([to_rgba(COLOURS["train"], 0.05 + 0.6 * n / 24) for n in range(25)])


class Shades(NamedTuple):
    """A colour map, the objectives at its ends, and which end stands for what lies beyond it too."""

    colours: Colormap
    norm: Normalize
    extend: str


def shades(history: SearchHistory) -> Shades | None:
    """Returns how objectives become shades: the better the denser, outliers do not wash out the rest.

    Args:
        history: A search.

    Returns:
        The shades; None if no trial may win.

    Example:
        >>> from tflbt.report.search_history import TrialRow
        >>> trials = [TrialRow(n, "completed", v, {}) for n, v in enumerate((0.1, 0.88, 0.9), 1)]
        >>> found = shades(SearchHistory({"direction": "max"}, trials))
        >>> round(float(found.norm.vmin), 3), found.norm.vmax, found.extend
        (0.82, 0.9, 'min')
    """
    values = [trial.objective for trial in history.trials if trial.may_win]
    if not values:
        return None
    sign = 1.0 if history.largest else -1.0
    best, worst = sign * max(sign * v for v in values), sign * min(sign * v for v in values)
    reach = _REACH * abs(statistics.median(values) - best)
    beyond = 0 < reach < abs(worst - best)
    end = best - sign * reach if beyond else worst
    if end == best:  # a single value is the best
        end = best - sign * max(abs(best), 1e-9) * 1e-3
    colours = _SHADES if history.largest else _SHADES.reversed()
    extend = ("min" if history.largest else "max") if beyond else "neither"
    return Shades(colours, Normalize(min(best, end), max(best, end)), extend)


def is_log(one: HyperParameter, values: Sequence[float]) -> bool:
    """Tells whether a hyper-parameter is to be drawn on a logarithmic axis.

    Args:
        one: The hyper-parameter; if its space samples by logarithm, it is.
        values: Its numbers; if the largest is more than 20 times the smallest, it is.

    Returns:
        True or False; always False if a value is not above 0.

    Example:
        >>> one = HyperParameter("optimizer.learning_rate")
        >>> is_log(one, [0.1, 3.2]), is_log(one, [0.1, 0.2]), is_log(one, [0.0, 3.2])
        (True, False, False)
    """
    if not values or min(values) <= 0:
        return False
    return one.log or max(values) / min(values) > _LOG_SPAN


def scale(axis: XAxis | YAxis, one: HyperParameter, values: Sequence[float]) -> None:
    """Names an axis after a hyper-parameter and gives it its scale, with plain numbers on it.

    Args:
        axis: A horizontal or vertical axis.
        one: The hyper-parameter.
        values: Its finite numbers; at least one.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().add_subplot()
        >>> scale(axes.xaxis, HyperParameter("schedule.beta"), [0.3, 0.7])
        >>> axes.get_xlabel(), axes.get_xscale()
        ('schedule.beta', 'linear')
    """
    low, high = min(values), max(values)
    if is_log(one, values):
        axis.set_label_text(f"{one.name} (log scale)")
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        edge = max((high / low) ** 0.06, 1.1)
        axis.axes.set(**{f"{axis.axis_name}lim": (low / edge, high * edge)})
        steps = (1, 2, 5) if 4 <= high / low < 300 else range(1, 10) if high / low < 4 else (1,)
        axis.set_major_locator(LogLocator(subs=steps, numticks=12))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_label_text(one.name)
        edge = 0.06 * (high - low) or 0.5
        axis.axes.set(**{f"{axis.axis_name}lim": (low - edge, high + edge)})
        whole = all(value == math.floor(value) for value in values)
        axis.set_major_locator(
            MaxNLocator(nbins=7, steps=[1, 2, 5, 10], integer=whole, min_n_ticks=1)
        )
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
