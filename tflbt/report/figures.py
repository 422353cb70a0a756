"""The figures of a run over its epochs: loss, accuracy, schedules, stability, and where the time went."""

from __future__ import annotations

import math
import os

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tflbt.report import (
    axis_scale,
    figure_files,
    figure_style,
    phase_marks,
    schedule_figures,
    stability_figure,
    time_figure,
)
from tflbt.report.figure_style import COLOURS, HALF
from tflbt.report.measures import diffusion_figure, margin_figure, updates
from tflbt.report.tiles import metric_text
from tflbt.runs.history import History, is_accuracy


def draw(history: History) -> dict[str, Figure]:
    """Returns the figures of a run by name, in the order of the page; a figure without data is left out.

    They are `loss`, `accuracy` (whatever the metric), those of `schedule_figures`, `stability`, those of
    `measures`, and `time_account`.
    """
    if not history.rows:
        return {}
    with figure_style.settings():
        figures = {
            "loss": _loss(history),
            "accuracy": _metric(history),
            **schedule_figures.draw(history),
            "stability": stability_figure.draw(history),
            **updates.draw(history),
            "margin": margin_figure.draw(history),
            "diffusion": diffusion_figure.draw(history),
            "time_account": time_figure.draw(history),
        }
    return {name: figure for name, figure in figures.items() if figure is not None}


def write(history: History, folder: str | os.PathLike[str]) -> dict[str, str]:
    """Draws the figures, saves each as PNG and SVG in a folder, and returns each as an `<svg>` element by name."""
    return figure_files.save_inline(draw(history), folder)


def _loss(history: History) -> Figure | None:
    """Training and validation loss; epochs at which the loss is not a number are marked."""
    if not any(row.get("loss") is not None for row in history.rows):
        return None
    figure, axes = figure_style.axes_of(HALF, history.epochs, "loss")
    _pair(axes, history, "loss")
    lost = [e for e, v in zip(history.epochs, history.series("loss")) if not math.isfinite(v)]
    if lost:
        text = "not finite from epoch" if len(lost) > 1 else "not finite: epoch"
        style = {"ha": "center", "fontweight": "bold"}
        figure_style.note(axes, 0.5, 0.9, f"{text} {lost[0]}", "validation", **style)
    return figure


def _metric(history: History) -> Figure | None:
    """The accuracy, or whichever metric there is, with its best validation value where it is known what is better."""
    name = history.metric
    if name is None:
        return None
    label = name.replace("_", " ")
    figure, axes = figure_style.axes_of(HALF, history.epochs, label)
    end = history.direction(f"val_{name}")
    best = history.best(f"val_{name}", largest=end == "max") if end else None
    _pair(axes, history, name)
    if best is not None and len(history.rows) > 1:
        axes.plot(*best, "o", color=COLOURS["validation"], markersize=7, fillstyle="none")
        text = f"best {metric_text(name, best[1])}, epoch {best[0]}"
        figure_style.note(axes, 0.97, 0.06 if end == "max" else 0.9, text, "validation", ha="right")
    return figure


def _pair(axes: Axes, history: History, name: str) -> None:
    """Draws a column and its validation twin, named at their ends."""
    drawn = []
    for column, label in ((name, "train"), (f"val_{name}", "validation")):
        if history.has(column):
            values = history.series(column)
            figure_style.line(axes, history.epochs, values, label)
            drawn.append((values, label, label))
    everything = [value for values, _, _ in drawn for value in values]
    if is_accuracy(name):
        axis_scale.percent(axes, everything)
    else:
        axis_scale.log_if_wide(axes, everything)
    phase_marks.shade(axes, history)
    figure_style.label_ends(axes, drawn)
