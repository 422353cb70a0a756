"""The figures of a search: the objective by trial, two hyper-parameters as a map, and all side by side."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tflbt.report import (
    axis_scale,
    figure_style,
    search_heat_map,
    search_marks,
    search_parallel,
)
from tflbt.report.figure_style import COLOURS, HALF, WHOLE
from tflbt.report.search_history import SearchHistory
from tflbt.report.tiles import metric_text
from tflbt.runs.history import is_accuracy

_MANY = 60  # trials that need the whole width of a page


def draw(history: SearchHistory) -> dict[str, Figure]:
    """Returns the figures of a search by name, in the order of the page; a figure without data is left out.

    They are `objective` (one trial or more), `heat_map` (two hyper-parameters that were varied) and
    `parallel_coordinates` (two trials that ended).
    """
    if not history.trials:
        return {}
    with figure_style.settings():
        heat_map = search_heat_map.draw(history)
        beside = heat_map is not None and heat_map.get_figwidth() == HALF[0]
        half = beside and len(history.trials) <= _MANY
        figures = {
            "objective": _objective(history, HALF if half else WHOLE),
            "heat_map": heat_map,
            "parallel_coordinates": search_parallel.draw(history),
        }
    return {name: figure for name, figure in figures.items() if figure is not None}


def _objective(history: SearchHistory, size: tuple[float, float]) -> Figure:
    """Draws the objective of each trial, marked by status, and the best so far."""
    numbers = [trial.number for trial in history.trials]
    figure, axes = figure_style.axes_of(size, numbers, history.objective.replace("_", " "))
    axes.set_xlabel("trial")
    axes.set_xlim(min(numbers) - 0.6, max(numbers) + 0.6)
    values = [t.objective for t in history.trials if math.isfinite(t.objective)]
    if is_accuracy(history.objective):
        axis_scale.percent(axes, [])  # without the values, of which many would hide the worst
    else:
        axis_scale.log_if_wide(axes, values)
    _best_so_far(axes, history, numbers)
    if history.baseline is not None and history.baseline.may_win:
        look: dict[str, Any] = {"linestyle": "--", "linewidth": 1.2, "label": "recipe as it is"}
        axes.axhline(history.baseline.objective, color=COLOURS["muted"], **look)
    for status in history.counts:
        _marks(axes, history, status)
    if not values:
        axes.set_yticks([])
        figure_style.note(axes, 0.5, 0.5, "no trial has an objective", "muted", ha="center")
    if history.best is not None:
        text = metric_text(history.objective, history.best.objective)
        figure_style.label_ends(axes, [(history.best_so_far, text, search_marks.BEST)])
    figure.legend(
        loc="outside upper left", ncols=3 if size == HALF else 7, frameon=False, handletextpad=0.3
    )
    return figure


def _best_so_far(axes: Axes, history: SearchHistory, numbers: list[int]) -> None:
    """Draws the running best as a stair, with a ring around the winner."""
    best = history.best
    if best is None:
        return
    axes.plot(
        numbers, history.best_so_far, color=COLOURS[search_marks.BEST], drawstyle="steps-post", label="best so far"
    )  # fmt: skip
    axes.plot(
        [best.number], [best.objective], "o", color=COLOURS[search_marks.BEST],
        markersize=11, markeredgewidth=1.8, fillstyle="none",
    )  # fmt: skip


def _marks(axes: Axes, history: SearchHistory, status: str) -> None:
    """Draws the trials of one status; those without an objective stand at the bottom."""
    marker, role = search_marks.MARKS[status]
    trials = [trial for trial in history.trials if trial.status == status]
    shown = [trial for trial in trials if math.isfinite(trial.objective)]
    without = [trial.number for trial in trials if not math.isfinite(trial.objective)]
    look: dict[str, Any] = {"linestyle": "none", "marker": marker, "markersize": 6}
    look["color"] = COLOURS[role]
    axes.plot([t.number for t in shown], [t.objective for t in shown], label=status, **look)
    if without:
        bottom = axes.get_xaxis_transform()  # trial numbers across, shares of the axes' height up
        axes.plot(without, [0.03] * len(without), transform=bottom, **look)
