"""Figure of a search over all its hyper-parameters: parallel coordinates, one line per trial."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import TICKLEFT, TICKRIGHT

from tflbt.report import search_marks
from tflbt.report.figure_style import COLOURS, WHOLE
from tflbt.report.search_history import HyperParameter, SearchHistory, TrialRow
from tflbt.report.search_marks import BEST, BROKEN, Shades
from tflbt.report.tiles import metric_text

_BELOW = -0.14  # where the lines of trials without an objective end
_APART = 0.09  # of an axis: a line of text
_FAINTEST = 0.3  # of a line


class Scale(NamedTuple):
    """An axis: the height of each value that occurs (0 to 1), and the labels by height."""

    heights: dict[Any, float]
    labels: dict[float, str]


def draw(history: SearchHistory) -> Figure | None:
    """Draws one line per trial over all hyper-parameters to its objective, the best on top.

    Returns None if fewer than two trials ended, or nothing was searched.
    """
    shown = [trial for trial in history.trials if trial.may_win or trial.broken]
    columns = {p.name: history.column(p.name) for p in history.hyper_parameters}
    scales = {
        parameter.name: scale(parameter, columns[parameter.name])
        for parameter in history.hyper_parameters
        if any(value is not None for value in columns[parameter.name])
    }
    if len(shown) < 2 or not scales:
        return None
    figure = Figure(figsize=WHOLE, layout="constrained")
    axes = figure.add_subplot()
    for place, axis in enumerate(scales.values()):
        _axis(axes, place, axis.labels)
    shades = search_marks.shades(history)
    last = len(scales)
    _axis(axes, last, _objective_labels(history, shades), right=True)
    best = history.best
    for trial in [*(t for t in shown if t is not best), *([best] if best else [])]:
        heights = [
            axis.heights.get(trial.values.get(name), math.nan) for name, axis in scales.items()
        ]
        _line(axes, history, trial, heights, shades)
    broken = any(trial.broken for trial in shown)
    if broken:
        _label(axes, last, _BELOW, "diverged or failed", BROKEN, right=True)
    names = [name.replace(".", ".\n", 1) for name in scales]
    axes.set_xticks(range(last + 1), [*names, history.objective.replace("_", " ")])
    axes.set_xlim(-0.4, last + 0.4)
    axes.set_ylim((_BELOW if broken else 0) - 0.06, 1.06)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def scale(parameter: HyperParameter, column: list[Any]) -> Scale:
    """Returns where the values of a hyper-parameter stand on its axis, for its value in each trial (None: no value).

    Numbers stand between the smallest (0) and the largest (1), by logarithm if that reads better; anything else evenly,
    in the order of the space's choices.
    """
    values = list(dict.fromkeys(value for value in column if value is not None))
    if any(isinstance(value, (bool, str)) for value in values):
        return _categories(parameter, values)
    low, high = min(values), max(values)
    logarithm = search_marks.is_log(parameter, values)

    def place(value: float) -> float:
        if low == high:
            return 0.5
        if logarithm:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    heights = {value: place(value) for value in values}
    ticks = sorted(heights.values())
    if len(ticks) > 2 and min(b - a for a, b in zip(ticks, ticks[1:])) < _APART:
        middle = math.sqrt(low * high) if logarithm else (low + high) / 2
        return Scale(heights, {place(value): _short(value) for value in (low, middle, high)})
    return Scale(heights, {heights[value]: _short(value) for value in sorted(values)})


def _short(value: float) -> str:
    """Returns a number with the digits that there is room for."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _categories(parameter: HyperParameter, values: list[Any]) -> Scale:
    """Returns an axis of words."""
    order = [choice for choice in parameter.choices if choice in values]
    order += [value for value in values if value not in order]
    if all(isinstance(value, bool) for value in values):
        order = sorted(values)
    steps = max(len(order) - 1, 1)
    heights = {v: n / steps if len(order) > 1 else 0.5 for n, v in enumerate(order)}
    return Scale(heights, {height: str(value) for value, height in heights.items()})


def _objective_labels(history: SearchHistory, shades: Shades | None) -> dict[float, str]:
    """Returns the labels of the objective's axis: the ends of the shades and their middle."""
    if shades is None:
        return {}
    low, high = float(shades.norm.vmin or 0), float(shades.norm.vmax or 0)
    ends = {"min": ("≤ ", ""), "max": ("", "≥ ")}.get(shades.extend, ("", ""))
    values = ((0.0, low, ends[0]), (0.5, (low + high) / 2, ""), (1.0, high, ends[1]))
    return {height: sign + metric_text(history.objective, v) for height, v, sign in values}


def _axis(axes: Axes, place: int, labels: dict[float, str], right: bool = False) -> None:
    """Draws a vertical line with its labels on the left, or on the right."""
    axes.plot([place, place], [0, 1], color=COLOURS["muted"], linewidth=1)
    ticks: dict[str, Any] = {"linestyle": "none", "marker": TICKRIGHT if right else TICKLEFT}
    axes.plot([place] * len(labels), list(labels), color=COLOURS["muted"], **ticks)
    for height, text in labels.items():
        _label(axes, place, height, text, "muted", right)


def _label(
    axes: Axes, place: int, height: float, text: str, role: str, right: bool = False
) -> None:
    """Writes text beside an axis, on the colour of the page, so that lines do not cross it."""
    axes.annotate(
        text, (place, height), (9 if right else -9, 0), textcoords="offset points",
        color=COLOURS[role], fontsize=9, zorder=3,
        horizontalalignment="left" if right else "right", verticalalignment="center",
        bbox={"facecolor": COLOURS["card"], "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
    )  # fmt: skip


def _line(
    axes: Axes, history: SearchHistory, trial: TrialRow, heights: list[float], shades: Shades | None
) -> None:
    """Draws the line of a trial; dashed, down to a cross, if it diverged or failed."""
    across = list(range(len(heights) + 1))
    name = f"trial {trial.number}"
    if trial.broken or shades is None:
        axes.plot(
            across, [*heights, _BELOW], "--", color=COLOURS[BROKEN], alpha=0.6,
            linewidth=1.2, marker="x", markevery=[len(heights)], label=name,
        )  # fmt: skip
        return
    height = float(min(max(shades.norm(trial.objective), 0.0), 1.0))
    best = trial is history.best
    alpha = max(_FAINTEST, 1.4 * shades.colours(shades.norm(trial.objective))[3])
    axes.plot(
        across, [*heights, height], color=COLOURS[BEST if best else "train"], label=name,
        alpha=1.0 if best else alpha, linewidth=3 if best else 1.4, solid_joinstyle="round",
    )  # fmt: skip
