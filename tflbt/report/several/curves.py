"""Figures of one column over the epochs, updates, samples or seconds of several runs."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from tflbt import checks
from tflbt.report import axis_scale, figure_style
from tflbt.report.figure_style import COLOURS, WHOLE
from tflbt.report.several.groups import Group, deviation, labels, of_seeds
from tflbt.runs.history import History, is_accuracy

# The horizontal axis, and the column that has it; seconds are added up.
AXES = {"epoch": "epoch", "update": "updates", "sample": "samples", "second": "seconds"}
# What `draw` shows where nobody names columns, if any run has it.
USUAL = ("loss", "val_loss", "eigenvalue", "learning_rate", "gradient_norm", "margin", "distance")
_ROLES = (
    *("train", "validation", "rate", "eigenvalue", "communication", "input", "adversarial", "ink"),
)
_DASHES = ("-", "--", ":", "-.")


@dataclasses.dataclass(frozen=True)
class Curve:
    """A column of a group: the mean over its runs, and their sample deviation (0 for a single run)."""

    x: Sequence[float]
    mean: Sequence[float]
    deviation: Sequence[float]


def curve(group: Group, column: str, over: str = "epoch") -> Curve:
    """Returns the mean of a column over a group's runs, at the epochs at which each of them has a number.

    Where the runs differ in `over` at the same epoch, as in seconds, the mean of that stands on the horizontal axis. A
    mean over fewer runs than all would jump where a run ends, so it ends where the first of them does.

    Args:
        group: Runs that differ by their seed.
        column: A column of `metrics.csv`.
        over: "epoch" (default), "update", "sample" or "second".

    Raises:
        ValueError: If `over` is another word.

    Example:
        >>> runs = [History([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": value}]) for value in (0.5, 0.7)]
        >>> curve(Group("small", {}, dict(zip("ab", runs))), "loss").mean
        [1.0, 0.6]
    """
    checks.one_of("over", over, AXES)
    tables = [_points(history, column, over) for history in group.histories.values()]
    common = sorted(set.intersection(*(set(table) for table in tables)))
    points = [[table[epoch] for table in tables] for epoch in common]
    values = [[y for _, y in point] for point in points]
    return Curve(
        [statistics.fmean(x for x, _ in point) for point in points],
        [statistics.fmean(found) for found in values],
        [deviation(found) for found in values],
    )


def columns_of(groups: Iterable[Group]) -> list[str]:
    """Returns the usual columns that any of the runs has, the metric after the losses."""
    histories = [history for group in groups for history in group.histories.values()]
    metrics = (history.metric for history in histories if history.metric is not None)
    both = [name for metric in dict.fromkeys(metrics) for name in (metric, f"val_{metric}")]
    wanted = dict.fromkeys((*USUAL[:2], *both, *USUAL[2:]))
    return [column for column in wanted if any(history.has(column) for history in histories)]


def draw(groups: Sequence[Group], column: str, over: str = "epoch") -> Figure:
    """Draws a line per group, with a band of one sample deviation to each side where it has several seeds.

    Raises:
        ValueError: If no run has the column.
    """
    drawn = [(group, curve(group, column, over)) for group in groups]
    drawn = [(group, line) for group, line in drawn if line.x]
    if not drawn:
        raise ValueError(f"columns={column!r}: none of these runs has a number there over {over}s.")
    names = labels([group for group, _ in drawn])
    with figure_style.settings():
        figure = Figure(figsize=WHOLE, layout="constrained")
        axes = figure.add_subplot()
        figure_style.plain(axes)
        axes.set_xlabel({"second": "seconds"}.get(over, over))
        axes.set_ylabel(column.replace("_", " "))
        for (group, line), name, look in zip(drawn, names, looks()):
            dots = "o" if len(line.x) <= 25 else None
            label = f"{name}{of_seeds(group)}"
            axes.plot(line.x, line.mean, label=label, marker=dots, markersize=3.6, **look)
            if any(line.deviation):
                low, high = zip(*((m - d, m + d) for m, d in zip(line.mean, line.deviation)))
                axes.fill_between(line.x, low, high, color=look["color"], alpha=0.18, linewidth=0)
        means = [value for _, line in drawn for value in line.mean]
        if is_accuracy(column):
            axis_scale.percent(axes, means)
        else:
            axis_scale.log_if_wide(axes, means)
        figure_style.legend(figure)
        return figure


def looks() -> Iterable[dict]:
    """Yields a look per line: the colours in turn, then again with other dashes."""
    for dashes, role in itertools.cycle(itertools.product(_DASHES, _ROLES)):
        yield {"color": COLOURS[role], "linestyle": dashes, "linewidth": 1.8}


def _points(history: History, column: str, over: str) -> dict[int, tuple[float, float]]:
    """Returns (x, y) by epoch, where both are finite."""
    x = [float(epoch) for epoch in history.epochs]
    if over != "epoch":
        x = history.series(AXES[over])
    if over == "second":
        x = list(itertools.accumulate(x))
    found = zip(history.epochs, x, history.series(column))
    return {epoch: (a, b) for epoch, a, b in found if math.isfinite(a) and math.isfinite(b)}
