"""Figures of final values against a setting, such as accuracy against batch size, a line per variant."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from tflbt.analysis.power_law import fit_power_law
from tflbt.analysis.regimes import ACCURACY_SHARE
from tflbt.checks import is_number
from tflbt.report import axis_scale, figure_style
from tflbt.report.figure_style import COLOURS, WHOLE
from tflbt.report.several.curves import looks
from tflbt.report.several.groups import Group, deviation, differing
from tflbt.runs.history import is_accuracy
from tflbt.runs.metrics import is_logged_metric


@dataclasses.dataclass(frozen=True)
class Result:
    """The final values of the runs of a group: their mean and sample deviation, and how many diverged."""

    group: Group
    mean: float
    deviation: float
    diverged: int

    @classmethod
    def of(cls, group: Group, column: str) -> Result:
        """Takes what a column holds after the last epoch of each run."""
        finals = group.finals(column)
        finite = [value for value in finals if math.isfinite(value)]
        mean = statistics.fmean(finite) if finite else math.nan
        return cls(group, mean, deviation(finite), len(finals) - len(finite))


def lines(
    groups: Sequence[Group], column: str, against: str = "batch_size"
) -> dict[str, list[tuple[float, Result]]]:
    """Returns the points (setting, result) of each variant, from the smallest setting on.

    Runs of one name are a variant, whatever else changes together with the setting (the learning rate, as a rule).
    Where several of a name have the same setting, what they differ in tells variants apart.

    Args:
        groups: The runs.
        column: What counts, after the last epoch.
        against: A setting that is a number in every run, such as "batch_size", "epochs", "optimizer.learning_rate".

    Raises:
        ValueError: If a run has no such setting.
    """
    for group in groups:
        if not is_number(group.settings.get(against)):
            raise ValueError(
                f"against={against!r}: {next(iter(group.histories))} has {group.settings.get(against)!r} there, "
                "not a number."
            )
    found: dict[str, list[tuple[float, Result]]] = {}
    for group in groups:
        named = [other for other in groups if other.name == group.name]
        keys: dict[str, None] = {}
        for value in {other.settings[against] for other in named}:
            keys.update(
                dict.fromkeys(differing([g for g in named if g.settings[against] == value]))
            )
        label = " ".join([group.name, *(f"{key}={group.settings.get(key)}" for key in keys)])
        point = (float(group.settings[against]), Result.of(group, column))
        found.setdefault(label, []).append(point)
    return {label: sorted(points, key=lambda p: p[0]) for label, points in found.items()}


def draw(
    groups: Sequence[Group],
    column: str,
    against: str = "batch_size",
    baseline: float | None = None,
) -> Figure:
    """Draws final values against a setting on a logarithmic axis, a line per variant, bars of one sample deviation.

    The dashed line is 99.5% of the baseline's value, the target of "The Limit of the Batch Size" (2.1), where the
    column is an accuracy, else that value itself. A cross on the lower edge is a setting with which every run diverged.
    Of what rules and callbacks measure, such as strides, the legend has the slope on logarithmic axes, and its error.

    Raises:
        ValueError: As `lines`, and if no run has the column.

    Source: Figs 21 and 22 of `limit-of-the-batch-size.txt`; Figs 3, 4 and 7 of `curvature-radius.txt`.
    """
    found = lines(groups, column, against)
    require(column, [result for points in found.values() for _, result in points])
    settings = sorted({x for points in found.values() for x, _ in points})
    with figure_style.settings():
        figure = Figure(figsize=WHOLE, layout="constrained")
        axes = figure.add_subplot()
        figure_style.plain(axes)
        values = []
        for (label, points), look in zip(found.items(), looks()):
            alive = [(x, result) for x, result in points if math.isfinite(result.mean)]
            values += [result.mean for _, result in alive]
            axes.errorbar(
                [x for x, _ in alive], [result.mean for _, result in alive],
                yerr=[result.deviation for _, result in alive],
                marker="o", markersize=4, capsize=3, label=label + _slope(points, column), **look,
            )  # fmt: skip
            lost = [x for x, result in points if not math.isfinite(result.mean)]
            edge = axes.get_xaxis_transform()
            axes.plot(lost, [0.02] * len(lost), "x", color=look["color"], transform=edge)
        if baseline is not None:
            mark_target(axes, column, baseline)
            values.append(baseline)
        axes.set_xlabel(f"{against.replace('_', ' ')} (log scale)")
        axes.set_ylabel(f"final {column.replace('_', ' ')}")
        if settings[0] > 0:
            axes.set_xscale("log")
            if len(settings) <= 10:
                axes.set_xticks(settings)
                axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        if is_accuracy(column):
            axis_scale.percent(axes, [])
        elif any(_slope(points, column) for points in found.values()):
            axis_scale.log(axes, values)
        else:
            axis_scale.log_if_wide(axes, values)
        figure_style.legend(figure)
        return figure


def _slope(points: Sequence[tuple[float, Result]], column: str) -> str:
    """What the legend says of the slope of a measured column; of losses, metrics and two settings nothing."""
    runs = [(x, value) for x, result in points for value in result.group.finals(column)]
    if is_logged_metric(column) or len(points) < 3 or any(value <= 0 for _, value in runs):
        return ""
    law = fit_power_law(*zip(*runs))
    return "" if law is None else f"\n{law}"


def mark_target(axes, column: str, baseline: float) -> None:
    """Draws the dashed line of the baseline."""
    share, text = (
        (ACCURACY_SHARE, "99.5% of the baseline") if is_accuracy(column) else (1.0, "baseline")
    )
    look = {"color": COLOURS["muted"], "linestyle": "--", "linewidth": 1.2}
    axes.axhline(share * baseline, label=text, **look)


def require(column: str, results: Sequence[Result]) -> None:
    """Raises if no run has the column."""
    if not any(math.isfinite(result.mean) for result in results):
        raise ValueError(f"columns={column!r}: none of these runs ends with a number there.")
