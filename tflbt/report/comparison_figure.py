"""Figure of tuned recipes side by side: a dot for each seed, their mean and spread."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tflbt.analysis.tuned import Tuned
from tflbt.report import figure_style
from tflbt.report.figure_style import COLOURS, WHOLE
from tflbt.report.tiles import metric_text
from tflbt.runs.history import is_accuracy

_LINE = 0.55  # inches per recipe
_NEAR = 0.12  # of a line's height: seeds lie on three levels, so that equal results can be counted


def draw(rows: Sequence[Tuned]) -> Figure:
    """Draws one line per recipe, the first on top; there must be at least one."""
    with figure_style.settings():
        figure = Figure(figsize=(WHOLE[0], 1.0 + _LINE * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        figure_style.plain(axes)
        for line, row in enumerate(rows):
            places = [line + _NEAR * (n % 3 - 1) for n in range(len(row.finite))]
            axes.plot(
                row.finite, places, "o", color=COLOURS["train"], alpha=0.6, markersize=6, label=row.name
            )  # fmt: skip
            text = "all diverged" if row.results else "no runs"
            if row.finite:
                axes.errorbar(
                    row.mean, line, xerr=row.deviation if math.isfinite(row.deviation) else 0.0,
                    fmt="|", color=COLOURS["ink"], markersize=16, markeredgewidth=2, capsize=4,
                )  # fmt: skip
                text = metric_text(row.objective, row.mean)
                if math.isfinite(row.deviation):
                    text += f" ± {metric_text(row.objective, row.deviation)}"
                text += f", {row.diverged} diverged" if row.diverged else ""
            axes.text(
                1.01, line, text, transform=axes.get_yaxis_transform(), verticalalignment="center",
                color=COLOURS["validation" if row.diverged else "ink"],
            )  # fmt: skip
        axes.set_xlabel(rows[0].objective.replace("_", " "))
        if is_accuracy(rows[0].objective):
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}%"))
        if not any(row.finite for row in rows):
            axes.set_xticks([])
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        return figure
