"""The figure of `DistanceMonitor`: distance from the initial weights against updates, and two laws fitted to it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tflbt import checks
from tflbt.analysis.diffusion import Diffusion, fit_diffusion
from tflbt.report import figure_style
from tflbt.report.figure_style import COLOURS, WHOLE
from tflbt.report.several.curves import looks
from tflbt.report.several.groups import Group, labels, of_seeds
from tflbt.runs.history import History


def draw(history: History) -> Figure | None:
    """Draws the distances of a run with both fits; None if none were measured.

    Source: Figs 11 and 12 of `limit-of-the-batch-size.txt`.
    """
    t, d = _points(history)
    if not t:
        return None
    figure, axes = _axes()
    axes.plot(t, d, "o-", label="measured", color=COLOURS["train"], markersize=3.6)
    found = fit_diffusion(t, d, _after(history))
    if found is not None:
        _fits(axes, found, max(1, _after(history)), t[-1])
    figure_style.legend(figure)
    return figure


def compare(groups: Sequence[Group]) -> Figure:
    """Draws a line per group, the mean of its seeds, with both fits in the legend.

    Raises:
        ValueError: If a run has no distances.

    Source: Figs 11 and 12 of `limit-of-the-batch-size.txt`.
    """
    with figure_style.settings():
        figure, axes = _axes()
        for group, name, look in zip(groups, labels(groups), looks()):
            t, d = mean_distances(group)
            after = max(_after(history) for history in group.histories.values())
            found = fit_diffusion(t, d, after)
            law = "" if found is None else f"\n{_law(found)}\n{_root(found)}"
            axes.plot(t, d, marker="o", markersize=3, label=f"{name}{of_seeds(group)}{law}", **look)
        figure_style.legend(figure)
        return figure


def mean_distances(group: Group) -> tuple[list[float], list[float]]:
    """Returns the updates at which every run of a group was measured, and the mean distance there.

    Raises:
        ValueError: If a run has no distances.
    """
    tables = []
    for place, history in group.histories.items():
        table = dict(zip(*_points(history)))
        if not table:
            raise ValueError(
                f"{place} has no distances from the initial weights: train it with --config.distance.measure=True."
            )
        tables.append(table)
    common = sorted(set.intersection(*map(set, tables)))
    return common, [statistics.fmean(table[t] for table in tables) for t in common]


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=WHOLE, layout="constrained")
    axes = figure.add_subplot()
    figure_style.plain(axes)
    axes.set_xscale("log")
    axes.set_xlabel("updates (log scale)")
    axes.set_ylabel("distance from the start")
    return figure, axes


def _fits(axes: Axes, found: Diffusion, first: float, last: float) -> None:
    """Draws both laws over the updates to which they were fitted."""
    t = np.geomspace(first, last, 100)
    log, root = found.offset + found.per_decade * np.log10(t), found.root * np.sqrt(t)
    axes.plot(t, log, "--", color=COLOURS["eigenvalue"], linewidth=1.4, label=_law(found))
    text = _root(found).replace(", slope", "\nslope")
    axes.plot(t, root, ":", color=COLOURS["muted"], linewidth=1.4, label=text)


def _law(found: Diffusion) -> str:
    return f"{found.offset:.3g} + {found.per_decade:.3g} log₁₀ t, R² = {found.r_squared:.3f}"


def _root(found: Diffusion) -> str:
    return f"{found.root:.3g} √t, R² = {found.root_r_squared:.3f}, slope {found.slope:.3f}"


def _points(history: History) -> tuple[list[float], list[float]]:
    """Returns updates and distances, without those at which nothing has moved."""
    rows = [row for row in _rows(history) if row["distance"] > 0]
    return [row["updates"] for row in rows], [row["distance"] for row in rows]


def _after(history: History) -> float:
    """Returns the last update that was measured in the warm-up."""
    return max(
        (row["updates"] for row in _rows(history) if row["epoch"] <= history.warmup), default=0
    )


def _rows(history: History) -> list[Mapping[str, Any]]:
    """Returns the rows of finite numbers; a table that somebody sent may hold anything."""
    names = ("epoch", "updates", "distance")
    return [
        row
        for row in history.distances
        if all(checks.is_number(row.get(name)) and math.isfinite(row[name]) for name in names)
    ]
