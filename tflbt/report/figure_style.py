"""How the figures look: colours, axes, lines, and labels at the lines' ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours, distinct in every kind of colour vision; each role has a colour of its
# own, so that the page can change it on a dark background.
COLOURS = {
    "ink": "#1d2733",
    "muted": "#5b6776",
    "grid": "#dfe4ea",
    "train": "#0072b2",
    "validation": "#d55e00",
    "rate": "#00735c",
    "eigenvalue": "#8f3f76",
    "exploration": "#eaf3fb",
    "convergence": "#fdf3e3",
    "adversarial": "#7d6a00",
    "communication": "#e69f00",
    "input": "#56b4e9",
    "other": "#b8c0ca",
    "card": "#ffffff",  # the background of a figure
}
HALF = (5.0, 3.1)  # inches: two figures in a row of the page
WHOLE = (10.2, 3.1)  # one figure over the whole width
_LONGEST_BESIDE = 40  # letters of a name in a legend beside the axes
_SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "svg.fonttype": "none",  # text stays text: sharp, searchable, in the page's font
    "axes.facecolor": "none",
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.titlecolor": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
}


def settings() -> Any:
    """Returns the context in which figures are built and saved; it restores Matplotlib's parameters afterwards."""
    return matplotlib.rc_context(_SETTINGS)


def axes_of(size: tuple[float, float], epochs: Sequence[int], label: str) -> tuple[Figure, Axes]:
    """Returns a figure of a size in inches and its axes over the epochs, with a label on the vertical axis."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_ylabel(label)
    over_epochs(axes, epochs)
    return figure, axes


def over_epochs(axes: Axes, epochs: Sequence[int]) -> None:
    """Gives empty axes the epochs as their horizontal axis, and the look of every figure."""
    axes.set_xlabel("epoch")
    first, last = min(epochs), max(epochs)
    # The line of epoch e ends at e; the rate that epoch used is drawn from e - 1 to e.
    axes.set_xlim(first - 1, last + 0.02 * (last - first + 1))
    axes.xaxis.set_major_locator(
        MaxNLocator(integer=True, nbins=9, steps=[1, 2, 5, 10], min_n_ticks=1)
    )
    plain(axes)


def plain(axes: Axes) -> None:
    """Gives axes a light grid behind what is drawn, and no frame at the top and right."""
    axes.grid(color=COLOURS["grid"], linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def line(axes: Axes, epochs: Sequence[int], values: Sequence[float], role: str) -> None:
    """Draws a series in the colour of a role, NaN as a gap; short series and isolated points get dots."""
    finite = [False, *map(math.isfinite, values), False]
    places = enumerate(zip(finite, finite[1:], finite[2:]))
    alone = [i for i, (before, here, after) in places if here and not before and not after]
    dots = None if len(values) <= 25 else alone
    look: dict[str, Any] = {"marker": "o", "markersize": 3.6, "solid_capstyle": "round"}
    axes.plot(epochs, values, color=COLOURS[role], linewidth=1.8, markevery=dots, **look)


def label_ends(axes: Axes, labels: Sequence[tuple[Sequence[float], str, str]]) -> None:
    """Writes names beside the right ends of lines (values, name, role), moved apart where they would touch.

    The limits of the axes must be final.
    """
    axes.get_ylim()  # Matplotlib fits the limits to the data only when they are asked for
    apart = 0.085  # of the axes' height: a line of text
    placed = []
    for values, name, role in labels:
        finite = [value for value in values if math.isfinite(value)]
        if finite:
            place = axes.transData.transform((0, finite[-1]))
            placed.append((axes.transAxes.inverted().transform(place)[1], name, role))
    placed.sort()
    if len(placed) == 2 and placed[1][0] - placed[0][0] < apart:
        middle = min(max((placed[0][0] + placed[1][0]) / 2, apart / 2), 1 - apart / 2)
        heights = (middle - apart / 2, middle + apart / 2)
        placed = [(height, *label[1:]) for height, label in zip(heights, placed)]
    for height, name, role in placed:
        note(axes, 1.01, height, name, role, va="center", fontweight="bold")


def note(axes: Axes, x: float, y: float, text: str, role: str, **style: Any) -> None:
    """Writes text at shares of the axes' width and height, in the colour of a role."""
    axes.text(x, y, text, color=COLOURS[role], transform=axes.transAxes, **style)


def legend(figure: Figure) -> None:
    """Names the lines of a figure at its right, or below it where a name would take up the width of the lines."""
    texts = [text for axes in figure.axes for text in axes.get_legend_handles_labels()[1]]
    longest = max((len(part) for text in texts for part in text.split("\n")), default=0)
    place: Any = "outside lower left" if longest > _LONGEST_BESIDE else "outside right center"
    if longest > _LONGEST_BESIDE:
        height = 0.2 * sum(1 + text.count("\n") for text in texts)
        figure.set_figheight(figure.get_figheight() + height)
    figure.legend(loc=place, frameon=False)
