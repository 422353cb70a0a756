"""The figure of `MarginMonitor`: the accumulated margin beside the training loss, and where that becomes flat."""

from __future__ import annotations

from matplotlib.figure import Figure

from tflbt.control.plateau import Plateau
from tflbt.report import axis_scale, figure_style
from tflbt.report.figure_style import COLOURS, WHOLE
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
    measured = [(e, m) for e, m in zip(history.epochs, history.series("margin")) if m == m]
    figure_style.line(axes, *zip(*measured), "eigenvalue")
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
    return figure


def plateau_epoch(history: History) -> int | None:
    """Returns the first epoch at which the training loss has not improved for 10 epochs; None if there is none."""
    plateau = Plateau(PATIENCE)
    pairs = zip(history.epochs, history.series("loss"))
    return next((epoch for epoch, loss in pairs if plateau.update(loss)), None)
