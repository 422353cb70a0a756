"""Figures of landscapes: a surface as a static 3-D view beside its contours, and cuts along eigenvectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tflbt.report import figure_style
from tflbt.report.figure_style import COLOURS, WHOLE
from tflbt.report.several.curves import looks

_LEVELS = 18
_COLOURS = "viridis"  # dark is low, in every kind of colour vision and in grey


def surface(
    values: np.ndarray,
    losses: np.ndarray,
    labels: Sequence[str],
    marks: Mapping[str, tuple[float, float]],
    log: bool = False,
) -> Figure:
    """Draws a loss over a plane.

    Args:
        values: The coordinates in each direction, `[points]`.
        losses: `[points, points]`; the first direction along the first axis. Infinite ones are left out.
        labels: The names of both directions.
        marks: Points by name, such as "epoch 0" at (0, 0).
        log: Whether the loss is drawn by its logarithm.

    Source: Figs 1, 9 and 10 of `abs-absa.txt`.
    """
    finite = np.where(np.isfinite(losses), losses, np.nan)
    low, high = float(np.nanmin(finite)), float(np.nanmax(finite))
    log = log and low > 0
    high = high if high > low else low + 1e-9  # a flat surface
    norm = (LogNorm if log else Normalize)(low, high)
    first, second = np.meshgrid(values, values, indexing="ij")
    with figure_style.settings():
        figure = Figure(figsize=(WHOLE[0], 4.2), layout="constrained")
        solid: Any = figure.add_subplot(1, 2, 1, projection="3d")
        height = np.log10(finite) if log else finite
        solid.plot_surface(
            first, second, height, facecolors=_shades(finite, norm), rstride=1, cstride=1,
            linewidth=0, antialiased=True, shade=False,
        )  # fmt: skip
        solid.set_title("log₁₀ loss" if log else "loss", fontsize=10)
        solid.view_init(elev=32, azim=-60)
        solid.set_box_aspect(None, zoom=0.8)  # room for the names of its axes
        solid.locator_params(nbins=4)
        flat = figure.add_subplot(1, 2, 2)
        levels = (np.geomspace if log else np.linspace)(low, high, _LEVELS)
        drawn = flat.contourf(first, second, finite, levels, norm=norm, cmap=_COLOURS)
        flat.contour(first, second, finite, levels, colors="white", linewidths=0.4, alpha=0.6)
        text = FuncFormatter(lambda value, _: f"{value:.3g}")
        figure.colorbar(drawn, ax=flat, label="loss", ticks=levels[::3], format=text)
        for name, (x, y) in marks.items():
            flat.plot(x, y, "o", color="white", markeredgecolor=COLOURS["ink"], markersize=6)
            right = x > values.mean()  # where its name would leave the picture
            flat.annotate(
                name, (x, y), xytext=(-5 if right else 5, 5), textcoords="offset points",
                horizontalalignment="right" if right else "left",
                bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"},
            )  # fmt: skip
        for axes in (solid, flat):
            axes.set_xlabel(labels[0])
            axes.set_ylabel(labels[1])
        return figure


def cuts(
    epochs: Sequence[int], names: Sequence[str], found: Sequence[Sequence[Mapping[str, Any]]]
) -> Figure:
    """Draws a panel per epoch, with a line per run: the loss along the top eigenvector at that epoch.

    Args:
        epochs: The epochs, which title the panels.
        names: The runs' names.
        found: `distances`, `losses` and `eigenvalue` of each epoch and run.

    Source: Fig. 11 of `abs-absa.txt`.
    """
    columns = min(3, len(epochs))
    rows = -(-len(epochs) // columns)
    with figure_style.settings():
        size = (WHOLE[0], 0.5 + 2.6 * rows)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, epoch, of_runs in zip(panels, epochs, found):
            figure_style.plain(axes)
            axes.set_title(f"epoch {epoch}", fontsize=10)
            for name, cut, look in zip(names, of_runs, looks()):
                axes.plot(cut["distances"], cut["losses"], label=name, **look)
            axes.set_xlabel("along the top eigenvector")
        for axes in panels[::columns]:
            axes.set_ylabel("training loss")
        for axes in panels[len(epochs) :]:
            axes.set_visible(False)
        handles, shown = panels[0].get_legend_handles_labels()
        figure.legend(handles, shown, loc="outside right center", frameon=False)
        return figure


def _shades(losses: np.ndarray, norm: Any) -> np.ndarray:
    """Returns the colour of each point."""
    from matplotlib import colormaps

    return colormaps[_COLOURS](norm(losses))
