"""Bars of final values, one per variant, such as a ladder of optimizations 0 to 4."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from tflbt.report import axis_scale, figure_style
from tflbt.report.figure_style import COLOURS, HALF
from tflbt.report.several.groups import Group, accuracy_text, labels, of_seeds
from tflbt.report.several.sweep import Result, mark_target, require
from tflbt.runs.history import is_accuracy


def draw(groups: Sequence[Group], column: str, baseline: float | None = None) -> Figure:
    """Draws a bar per variant, in the order of the command line, such as a ladder of optimizations 0 to 4.

    Bars begin at 0, so that their lengths compare. Their value and sample deviation stand above; a bar without a value
    says that every run diverged.

    Raises:
        ValueError: If no run has the column.

    Source: Figs 1, 6, 13 and 14 of `limit-of-the-batch-size.txt`.
    """
    results = [Result.of(group, column) for group in groups]
    require(column, results)
    with figure_style.settings():
        width = max(HALF[0], 1.3 * len(results) + 1.0)
        figure = Figure(figsize=(width, HALF[1] + 0.4), layout="constrained")
        axes = figure.add_subplot()
        figure_style.plain(axes)
        axes.grid(visible=False, axis="x")
        top = max(r.mean + r.deviation for r in results if math.isfinite(r.mean))
        for place, result in enumerate(results):
            text, height = "diverged", 0.0
            if math.isfinite(result.mean):
                height = result.mean
                text = accuracy_text(column, height)
                if result.deviation:
                    text += f"\n± {accuracy_text(column, result.deviation)}"
                if result.diverged:
                    text += f"\n{result.diverged} diverged"
            spread = result.deviation or None
            axes.bar(place, height, 0.62, yerr=spread, color=COLOURS["train"], capsize=4)
            axes.text(place, height + result.deviation, text, ha="center", va="bottom")
        axes.set_xticks(range(len(results)), _wrapped(groups))
        axes.set_ylabel(f"final {column.replace('_', ' ')}")
        if baseline is not None:
            mark_target(axes, column, baseline)
            axes.legend(loc="upper right", frameon=False)
        axes.set_ylim(min(0.0, *(r.mean for r in results)), 1.25 * max(top, baseline or top))
        if is_accuracy(column):
            axes.set_yticks([tick for tick in axes.get_yticks() if tick <= 1])
            axis_scale.percent(axes, [])
        return figure


def _wrapped(groups: Sequence[Group]) -> list[str]:
    """Returns the labels with a line for each part, to stand under bars."""
    names = (name.replace(":", ":\n").replace(" ", "\n") for name in labels(groups))
    return [f"{name}\n{of_seeds(group)[1:]}".rstrip() for name, group in zip(names, groups)]
