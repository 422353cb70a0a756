"""Figure of a search over two hyper-parameters: annotated cells where they form a grid, else points."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tflbt.report import figure_style, search_marks
from tflbt.report.figure_style import COLOURS, HALF, WHOLE
from tflbt.report.search_history import HyperParameter, SearchHistory, TrialRow
from tflbt.report.search_marks import BEST, BROKEN, Shades
from tflbt.report.tiles import metric_text
from tflbt.runs.history import is_accuracy

LEARNING_RATE, BETA, WARMUP = "optimizer.learning_rate", "schedule.beta", "warmup.epochs"
_MOST_CELLS = 12  # per side: more have no room for their numbers
_FILLED = 0.5  # share of filled cells from which the values are a grid
_HALF_COLUMNS = 6  # columns whose numbers fit into half the width of a page
Pair = tuple[HyperParameter, HyperParameter]


def draw(history: SearchHistory) -> Figure | None:
    """Draws the objective over two hyper-parameters; None if `pair` finds no two.

    Source: the annotated cells are those of Fig. 2 of `limit-of-the-batch-size.txt`.
    """
    two = pair(history)
    if two is None:
        return None
    grid = is_grid(history, two)
    columns = len(history.numbers(two[0].name))
    size = WHOLE if grid and columns > _HALF_COLUMNS else HALF
    figure = Figure(figsize=size, layout="constrained")
    draw_trials = _cells if grid else _points
    draw_trials(figure.add_subplot(), history, two, search_marks.shades(history))
    return figure


def pair(history: SearchHistory) -> Pair | None:
    """Returns the horizontal and the vertical hyper-parameter, or None if no two numeric ones were varied.

    They are the learning rate and beta if both were varied, else the learning rate and the warm-up epochs, else the
    first two numeric ones.
    """
    numeric = (p for p in history.hyper_parameters if len(history.numbers(p.name)) > 1)
    varied = {parameter.name: parameter for parameter in numeric}
    for other in (BETA, WARMUP):
        if LEARNING_RATE in varied and other in varied:
            return varied[LEARNING_RATE], varied[other]
    first = list(varied.values())[:2]
    return (first[0], first[1]) if len(first) == 2 else None


def is_grid(history: SearchHistory, two: Pair) -> bool:
    """Whether the trials fill at least half of a grid of at most 12 values per side, as those of GridSearch do."""
    across, up = (history.numbers(parameter.name) for parameter in two)
    if max(len(across), len(up)) > _MOST_CELLS:
        return False
    return len(_by_place(history, two)) >= _FILLED * len(across) * len(up)


def _by_place(history: SearchHistory, two: Pair) -> dict[tuple[float, float], list[TrialRow]]:
    """Returns the trials at each pair of values, without the trials that lack one of the two."""
    places: dict[tuple[float, float], list[TrialRow]] = {}
    for trial, x, y in zip(history.trials, *(history.column(p.name) for p in two)):
        if x is not None and y is not None and math.isfinite(x) and math.isfinite(y):
            places.setdefault((float(x), float(y)), []).append(trial)
    return places


def _cells(axes: Axes, history: SearchHistory, two: Pair, shades: Shades | None) -> None:
    """Draws one cell per pair of values, with the best objective that was reached there."""
    across, up = (history.numbers(parameter.name) for parameter in two)
    cells = np.full((len(up), len(across)), np.nan)
    size = 10 if max(len(across), len(up)) <= 4 else 9
    for (x, y), trials in _by_place(history, two).items():
        column, row = across.index(x), up.index(y)
        objectives = [trial.objective for trial in trials if trial.may_win]
        if objectives:
            cells[row, column] = (max if history.largest else min)(objectives)
            text, role = metric_text(history.objective, float(cells[row, column])), "ink"
        elif any(trial.broken for trial in trials):
            text, role = "×", BROKEN
        else:
            continue
        axes.text(
            column, row, text, color=COLOURS[role], fontsize=size if objectives else 16,
            horizontalalignment="center", verticalalignment="center",
            fontweight="bold" if history.best in trials else "normal",
        )  # fmt: skip
        if history.best in trials:
            axes.add_patch(
                Rectangle(
                    (column - 0.47, row - 0.47), 0.94, 0.94,
                    fill=False, edgecolor=COLOURS[BEST], linewidth=2.2,
                )
            )  # fmt: skip
    if shades is not None:
        edges = (np.arange(len(values) + 1) - 0.5 for values in (across, up))
        axes.pcolormesh(*edges, np.ma.masked_invalid(cells), cmap=shades.colours, norm=shades.norm)
    axes.set_xlim(-0.5, len(across) - 0.5)
    axes.set_ylim(-0.5, len(up) - 0.5)
    axes.set_xticks(range(len(across)), [f"{value:.6g}" for value in across])
    axes.set_yticks(range(len(up)), [f"{value:.6g}" for value in up])
    axes.set_xlabel(two[0].name)
    axes.set_ylabel(two[1].name)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _points(axes: Axes, history: SearchHistory, two: Pair, shades: Shades | None) -> None:
    """Draws one point per trial, shaded by its objective; a cross if it diverged or failed."""
    figure_style.plain(axes)
    search_marks.scale(axes.xaxis, two[0], history.numbers(two[0].name))
    search_marks.scale(axes.yaxis, two[1], history.numbers(two[1].name))
    placed = [
        (trial, *place) for place, trials in _by_place(history, two).items() for trial in trials
    ]
    _crosses(axes, placed)
    candidates = [point for point in placed if point[0].may_win]
    if shades is None or not candidates:
        return
    # The better of two trials at the same place lies on top.
    candidates.sort(key=lambda point: point[0].objective * (1 if history.largest else -1))
    trials, x, y = zip(*candidates)
    points = axes.scatter(
        x, y, s=52, c=[trial.objective for trial in trials], cmap=shades.colours, norm=shades.norm,
        edgecolors=COLOURS["train"], linewidths=0.8, zorder=3,
    )  # fmt: skip
    if history.best in trials:
        axes.plot(
            x[-1], y[-1], "o", color=COLOURS[BEST],
            markersize=12, markeredgewidth=2, fillstyle="none", zorder=4,
        )  # fmt: skip
    bar = axes.figure.colorbar(points, ax=axes, extend=shades.extend, aspect=25, pad=0.02)
    bar.set_label(history.objective.replace("_", " "))
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(nbins=5)
    bar.formatter = FuncFormatter(
        lambda value, _: f"{100 * value:.6g}%" if is_accuracy(history.objective) else f"{value:.6g}"
    )
    bar.update_ticks()


def _crosses(axes: Axes, placed: list[tuple[TrialRow, float, float]]) -> None:
    """Draws the trials that diverged or failed, and those that are running."""
    for shown, marker, role in (
        ([point for point in placed if point[0].broken], "x", BROKEN),
        ([p for p in placed if p[0].status == "running"], *search_marks.MARKS["running"]),
    ):
        axes.plot(
            [x for _, x, _ in shown], [y for _, _, y in shown], marker, color=COLOURS[role],
            markersize=7, markeredgewidth=1.8,
        )  # fmt: skip
