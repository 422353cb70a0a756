"""Figures over the epochs that are said as tables: panels above each other, and the columns that each draws."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tflbt.report import axis_scale, figure_style, phase_marks
from tflbt.report.figure_style import COLOURS, WHOLE
from tflbt.runs.history import History

_HEIGHT = 2.2  # inches per panel if there are several


@dataclasses.dataclass(frozen=True)
class Line:
    """A column, what the legend calls it, its role in `COLOURS`, and its style."""

    column: str
    name: str
    role: str
    style: str = "-"


@dataclasses.dataclass(frozen=True)
class Panel:
    """Lines on one vertical axis, whose label names what they are; drawn only if one of `needs` has numbers.

    `needs` are its lines' columns if empty. Context such as the batch size is a line that is not needed.
    """

    label: str
    lines: tuple[Line, ...]
    needs: tuple[str, ...] = ()

    def has_data(self, history: History) -> bool:
        """Whether there is something to draw."""
        return any(history.has(name) for name in self.needs or (line.column for line in self.lines))


@dataclasses.dataclass(frozen=True)
class PanelFigure:
    """A figure of the page: its name, title, caption and panels."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]

    def draw(self, history: History) -> Figure | None:
        """Draws the panels that have data; None if there are none."""
        panels = [panel for panel in self.panels if panel.has_data(history)]
        if not panels:
            return None
        size = WHOLE if len(panels) == 1 else (WHOLE[0], 0.4 + _HEIGHT * len(panels))
        figure = Figure(figsize=size, layout="constrained")
        columns = figure.subplots(len(panels), sharex=True, squeeze=False)
        for axes, panel in zip(columns[:, 0], panels):
            figure_style.over_epochs(axes, history.epochs)
            _draw(axes, panel, history)
            axes.label_outer()
        figure.align_ylabels()
        return figure


def _draw(axes: Axes, panel: Panel, history: History) -> None:
    """Draws the lines of a panel, on a logarithmic axis where they are positive and span a wide range."""
    axes.set_ylabel(panel.label)
    everything: list[float] = []
    for line in panel.lines:
        if not history.has(line.column):
            continue
        values = history.series(line.column)
        dots = "o" if sum(map(math.isfinite, values)) <= 25 else None
        look: dict[str, Any] = {"linewidth": 1.8, "marker": dots, "markersize": 3.6}
        points = [(e, v) for e, v in zip(history.epochs, values) if not math.isnan(v)]
        axes.plot(*zip(*points), color=COLOURS[line.role], linestyle=line.style, label=line.name, **look)  # fmt: skip
        everything += values
    axis_scale.log_if_wide(axes, everything)
    phase_marks.shade(axes, history)
    phase_marks.mark_growth(axes, history)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
