"""Draws the README's picture of a run, for light and dark pages: python docs/figures/draw.py RUN."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from tflbt.report import History, RunDirectory, axis_scale, phase_marks
from tflbt.report.figure_style import COLOURS, label_ends, line, over_epochs
from tflbt.report.page_style import CSS

HERE = Path(__file__).resolve().parent
INCHES, DPI = (9.6, 4.7), 110  # about 1,050 pixels wide


def dark_colours() -> dict[str, str]:
    """Returns the colours that reports use on a dark page, by role."""
    dark = CSS[CSS.index("prefers-color-scheme: dark") :]
    dark = dark[: dark.index("}")]
    return {
        role: colour for role, colour in re.findall(r"--(\w+): (#\w{6})", dark) if role in COLOURS
    }


def draw(history: History) -> Figure:
    """Draws accuracy, learning rate and largest eigenvalue above one another, in the current colours."""
    figure = Figure(figsize=INCHES, layout="constrained", facecolor=COLOURS["card"])
    accuracy, rate, eigenvalue = figure.subplots(3, sharex=True, height_ratios=(3, 2, 2))
    panels = {"accuracy": accuracy, "learning rate": rate, "eigenvalue": eigenvalue}
    for axes in panels.values():
        over_epochs(axes, history.epochs)

    columns = {"train": history.series("accuracy"), "validation": history.series("val_accuracy")}
    for role, values in columns.items():
        line(accuracy, history.epochs, values, role)
    axis_scale.percent(accuracy, [value for values in columns.values() for value in values])
    rates = history.series("learning_rate")
    ends = [history.epochs[0] - 1, *history.epochs]
    rate.plot(ends, [rates[0], *rates], color=COLOURS["rate"], linewidth=2, drawstyle="steps-pre")
    axis_scale.log(rate, rates)
    line(eigenvalue, history.epochs, history.series("eigenvalue"), "eigenvalue")
    axis_scale.log_if_wide(eigenvalue, history.series("eigenvalue"))

    for label, axes in panels.items():
        axes.set_ylabel(label)
        axes.label_outer()
        phase_marks.shade(axes, history, named=axes is accuracy)
        for epoch in history.decay_epochs if axes is not accuracy else ():
            axes.axvline(epoch, color=COLOURS["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
    figure.align_ylabels()
    label_ends(accuracy, [(values, role, role) for role, values in columns.items()])
    return figure


def main(run: str, folder: Path = HERE) -> None:
    """Writes run_light.png and run_dark.png, beside this file by default."""
    history = History(RunDirectory(run).metrics.read())
    light = dict(COLOURS)
    for name, colours in (("light", light), ("dark", dark_colours())):
        COLOURS.update(colours)
        muted = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
        settings = {**dict.fromkeys(muted, COLOURS["muted"]), "axes.facecolor": "none"}
        with matplotlib.rc_context({**settings, "text.color": COLOURS["ink"]}):
            draw(history).savefig(folder / f"run_{name}.png", dpi=DPI)
    COLOURS.update(light)


if __name__ == "__main__":
    main(sys.argv[1])
