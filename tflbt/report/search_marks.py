"""How the figures of a search tell trials apart: one marker per status, one shade of a colour per objective."""

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

# Marker and role in COLOURS of each status; a broken trial has the same cross in every figure.
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
# One hue, from clear to dense: readable on light and dark pages, under text in the colours of either.
_SHADES = ListedColormap([to_rgba(COLOURS["train"], 0.05 + 0.6 * n / 24) for n in range(25)])


class Shades(NamedTuple):
    """A colour map, its normalisation, and the end at which it also stands for values beyond it."""

    colours: Colormap
    norm: Normalize
    extend: str


def shades(history: SearchHistory) -> Shades | None:
    """Returns the shades of objectives, denser for better ones, without outliers; None if no trial may win."""
    values = [trial.objective for trial in history.trials if trial.may_win]
    if not values:
        return None
    sign = 1.0 if history.largest else -1.0
    best, worst = sign * max(sign * v for v in values), sign * min(sign * v for v in values)
    reach = _REACH * abs(statistics.median(values) - best)
    beyond = 0 < reach < abs(worst - best)
    end = best - sign * reach if beyond else worst
    if end == best:  # there is a single value
        end = best - sign * max(abs(best), 1e-9) * 1e-3
    colours = _SHADES if history.largest else _SHADES.reversed()
    extend = ("min" if history.largest else "max") if beyond else "neither"
    return Shades(colours, Normalize(min(best, end), max(best, end)), extend)


def is_log(parameter: HyperParameter, values: Sequence[float]) -> bool:
    """Whether a hyper-parameter is drawn by logarithm: its space samples so, or its values span a factor of 20."""
    if not values or min(values) <= 0:
        return False
    return parameter.log or max(values) / min(values) > _LOG_SPAN


def scale(axis: XAxis | YAxis, parameter: HyperParameter, values: Sequence[float]) -> None:
    """Labels an axis with a hyper-parameter and fits its scale to its finite values, with plain numbers on it."""
    low, high = min(values), max(values)
    if is_log(parameter, values):
        axis.set_label_text(f"{parameter.name} (log scale)")
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        edge = max((high / low) ** 0.06, 1.1)
        axis.axes.set(**{f"{axis.axis_name}lim": (low / edge, high * edge)})
        steps = (1, 2, 5) if 4 <= high / low < 300 else range(1, 10) if high / low < 4 else (1,)
        axis.set_major_locator(LogLocator(subs=steps, numticks=12))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_label_text(parameter.name)
        edge = 0.06 * (high - low) or 0.5
        axis.axes.set(**{f"{axis.axis_name}lim": (low - edge, high + edge)})
        whole = all(value == math.floor(value) for value in values)
        axis.set_major_locator(
            MaxNLocator(nbins=7, steps=[1, 2, 5, 10], integer=whole, min_n_ticks=1)
        )
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
