"""The figure of `MarginMonitor`: the accumulated margin beside the training loss, and where that becomes flat."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tflbt.control.plateau import Plateau
from tflbt.report import axis_scale, figure_style
from tflbt.report.figure_style import COLOURS, WHOLE
from tflbt.report.several.groups import Group, labels
from tflbt.runs.history import History

PATIENCE = (
    10  # epochs without improvement, as Fig. 1 counts; the schedule's own is 5% of the budget
)


def draw(history: History) -> Figure | None:
    """Draws margin (left axis) and training loss (right axis); a dotted line at `plateau_epoch`.

    None if no margin was measured.

    Source: Fig. 1 of `two-phase.txt`.
    """
    if not history.has("margin"):
        return None
    figure, axes = figure_style.axes_of(WHOLE, history.epochs, "margin")
    _panel(axes, history)
    return figure


def compare(groups: Sequence[Group]) -> Figure:
    """Draws a panel like that of `draw` per group, such as a small and a large batch; of several seeds the first.

    Raises:
        ValueError: If a run has no margins.

    Source: Fig. 1 of `two-phase.txt`.
    """
    with figure_style.settings():
        columns = min(2, len(groups))
        rows = -(-len(groups) // columns)
        figure = Figure(figsize=(WHOLE[0], 0.2 + 2.8 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, group, name in zip(panels, groups, labels(groups)):
            place, history = next(iter(group.histories.items()))
            if not history.has("margin"):
                raise ValueError(f"{place} has no margins: train it with --config.margin.every=1.")
            figure_style.over_epochs(axes, history.epochs)
            axes.set_ylabel("margin")
            axes.set_title(name, fontsize=10, wrap=True)
            _panel(axes, history)
        for axes in panels[len(groups) :]:
            axes.set_visible(False)
        return figure


def _panel(axes: Axes, history: History) -> None:
    """Draws margin, loss and plateau of one run."""
    measured = {e: m for e, m in zip(history.epochs, history.series("margin")) if m == m}
    figure_style.line(axes, list(measured), list(measured.values()), "eigenvalue")
    axes.yaxis.label.set_color(COLOURS["eigenvalue"])
    if history.has("loss"):
        right = axes.twinx()
        right.set_ylabel("training loss")
        right.yaxis.label.set_color(COLOURS["train"])
        figure_style.line(right, history.epochs, history.series("loss"), "train")
        axis_scale.log_if_wide(right, history.series("loss"))
        right.spines["top"].set_visible(False)
    flat = plateau_epoch(history)
    if flat is not None:
        axes.axvline(flat, color=COLOURS["ink"], linewidth=1.1, linestyle=(0, (1, 2)))


def plateau_epoch(history: History) -> int | None:
    """Returns the first epoch at which the training loss has not improved for 10 epochs; None if there is none."""
    plateau = Plateau(PATIENCE)
    pairs = zip(history.epochs, history.series("loss"))
    return next((epoch for epoch, loss in pairs if plateau.update(loss)), None)
