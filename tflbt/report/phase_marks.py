"""Marks in a figure for what the schedule did: the phases, the switch, every decay, every growth of the batch."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from tflbt.report.figure_style import COLOURS
from tflbt.runs.history import History

_LABELS_APART = 0.02  # of the axis's width: of decays closer than this only the first gets a number


def shade(axes: Axes, history: History, named: bool = False) -> None:
    """Shades the two phases, named above if wanted, and marks the switch between them; the limits must be final."""
    if not history.has_phases:
        return
    begin, end = axes.get_xlim()
    switch = history.switch_epoch
    border = end if switch is None else switch
    for phase, left, right in (("exploration", begin, border), ("convergence", border, end)):
        if right <= left:
            continue
        axes.axvspan(left, right, color=COLOURS[phase], linewidth=0, zorder=-2)
        if named and (phase == "convergence" or right - left > 0.1 * (end - begin)):
            # A switch late in the run leaves its label no room on the right.
            late = phase == "convergence" and right - left < 0.4 * (end - begin)
            _write(
                axes,
                end if late else left + 0.006 * (end - begin),
                1.1 if history.decay_epochs else 1.03,  # the decays' numbers stand below
                phase if phase == "exploration" else f"{phase} (phase switch after epoch {switch})",
                ha="right" if late else "left",
                fontstyle="italic",
            )
    if switch is not None:
        axes.axvline(switch, color=COLOURS["ink"], linewidth=1.1, zorder=1)


def mark_decays(axes: Axes, history: History) -> None:
    """Marks every decay by a dashed line, with its number above where there is room; the axes' limits must be final."""
    begin, end = axes.get_xlim()
    free_from = begin
    for number, epoch in enumerate(history.decay_epochs, start=1):
        axes.axvline(epoch, color=COLOURS["muted"], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        if epoch < free_from:
            continue
        text, width = ("decay 1", 2.5) if number == 1 else (str(number), 1)
        _write(axes, epoch, 1.02, text, ha="center", fontsize=9)
        free_from = epoch + width * _LABELS_APART * (end - begin)


def _write(axes: Axes, epoch: float, height: float, text: str, **style: Any) -> None:
    """Writes text at an epoch, and at a share of the axes' height."""
    place = axes.get_xaxis_transform()
    axes.text(epoch, height, text, color=COLOURS["muted"], transform=place, **style)


def mark_growth(axes: Axes, history: History) -> None:
    """Marks by a dotted line where the batch grew."""
    for epoch in history.growth_epochs:
        axes.axvline(epoch, color=COLOURS["train"], linewidth=1.0, linestyle=(0, (1, 2)), zorder=1)
