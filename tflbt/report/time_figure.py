"""Figures of where the time went: stacked bars by epoch and of the whole run, and several runs side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tflbt.report import figure_style, time_account
from tflbt.report.figure_style import COLOURS, WHOLE
from tflbt.report.tiles import duration
from tflbt.runs.history import History

# The colours of the page's other figures for the same things.
_ROLES = {
    "computation": "train",
    "communication": "communication",
    "curvature": "eigenvalue",
    "resizing": "rate",
    "input": "input",
    "validation": "validation",
    "other": "other",
}
_MOST_BARS = 60  # over the width of a page; a longer run has several epochs per bar
_UNITS = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def draw(history: History) -> Figure | None:
    """Draws the seconds of each epoch, stacked by part, beside the shares of the whole run.

    More than 60 epochs are drawn in groups, at their mean. Returns None if the run did not log its updates' times.

    Source: the parts are those of Fig. 4 of `abs-absa.txt`, and three more.
    """
    if not time_account.has_times(history):
        return None
    figure = Figure(figsize=WHOLE, layout="constrained")
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [11, 1]})
    figure_style.over_epochs(left, history.epochs)
    _epochs(left, history)
    spent = time_account.totals(history)
    total = sum(spent.values())
    figure_style.plain(right)
    _stack(right, [0.0], {part: [seconds / total] for part, seconds in spent.items()}, 0.7)
    right.set_xlim(-0.5, 0.5)
    right.set_ylim(0, 1)
    right.set_xticks([0], ["whole run"])
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    named = {part: f"{part} {_share(seconds / total)}" for part, seconds in spent.items()}
    _legend(figure, right, named)
    return figure


def compare(runs: Mapping[str, History]) -> Figure:
    """Draws one bar per run, with its time and its speed-up over the first above it.

    Raises:
        ValueError: If there is no run, or a run has no times.

    Source: Fig. 4 of `abs-absa.txt`.
    """
    spent = {name: time_account.totals(history) for name, history in runs.items()}
    if not spent or not all(spent.values()):
        missing = next((name for name, parts in spent.items() if not parts), "")
        raise ValueError(
            f"runs={missing!r} has no times: its metrics.csv needs the column seconds."
        )
    with figure_style.settings():
        figure = Figure(figsize=WHOLE, layout="constrained")
        axes = figure.add_subplot()
        figure_style.plain(axes)
        whole = [sum(parts.values()) for parts in spent.values()]
        scale, unit = next((unit for unit in _UNITS if max(whole) >= 2 * unit[0]), _UNITS[-1])
        parts = time_account.parts_of(spent)
        bars = {
            part: [seconds.get(part, 0.0) / scale for seconds in spent.values()] for part in parts
        }
        _stack(axes, list(range(len(spent))), bars, 0.6)
        for place, seconds in enumerate(whole):
            ratio = f"\n{whole[0] / seconds:.2f}x" if place else ""
            text = duration(seconds) + ratio
            axes.text(place, seconds / scale, text, ha="center", va="bottom")
        axes.set_ylabel(f"{unit} of the whole run")
        axes.set_xticks(range(len(spent)), list(spent))
        axes.set_xlim(-0.6, len(spent) - 0.4)
        axes.set_ylim(0, 1.25 * max(whole) / scale)
        axes.grid(visible=False, axis="x")
        _legend(figure, axes, {part: part for part in parts})
    return figure


def _epochs(axes: Axes, history: History) -> None:
    """Draws the bars of the epochs, or of groups of them; each ends where its last epoch ends."""
    epochs, spent = history.epochs, time_account.by_epoch(history)
    count = math.ceil(len(epochs) / _MOST_BARS)
    starts = range(0, len(epochs), count)
    means = {
        part: [_mean(values[start : start + count]) for start in starts]
        for part, values in spent.items()
    }
    ends = [epochs[min(start + count, len(epochs)) - 1] for start in starts]
    begins = [epochs[start] - 1 for start in starts]
    middles = [(begin + end) / 2 for begin, end in zip(begins, ends)]
    _stack(axes, middles, means, [0.84 * (end - begin) for begin, end in zip(begins, ends)])
    axes.set_ylabel("seconds" if count == 1 else f"seconds per epoch, means of {count}")
    axes.grid(visible=False, axis="x")


def _stack(
    axes: Axes,
    places: Sequence[float],
    parts: Mapping[str, Sequence[float]],
    width: float | Sequence[float],
) -> None:
    """Draws the parts on top of each other."""
    bottom = [0.0] * len(places)
    for part, values in parts.items():
        axes.bar(places, values, width, bottom, color=COLOURS[_ROLES[part]], label=part)
        bottom = [low + value for low, value in zip(bottom, values)]


def _legend(figure: Figure, axes: Axes, names: Mapping[str, str]) -> None:
    """Names the colours at the figure's right, in the order of the stack."""
    handles, parts = axes.get_legend_handles_labels()
    labels = [names[part] for part in parts[::-1]]
    look: dict[str, Any] = {"frameon": False, "handlelength": 1, "handleheight": 1}
    figure.legend(handles[::-1], labels, loc="outside right center", **look)


def _share(share: float) -> str:
    """Returns a share in percent, small ones with a digit more."""
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else "<0.1%"


def _mean(values: Sequence[float]) -> float:
    """Returns the mean of some epochs."""
    return sum(values) / len(values)
