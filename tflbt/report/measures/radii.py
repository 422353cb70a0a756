"""The figure of the radii of curvature: a bar for each variable of the network."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from tflbt.report import axis_scale, figure_style
from tflbt.report.figure_style import COLOURS, WHOLE
from tflbt.runs.history import History

PREFIX = "radius/"
ENLARGED = 10  # by how much the bars of biases are drawn larger, as in the paper
TITLE = "Radii of curvature"
CAPTION = (
    "The average radius of curvature of each variable, in the order of the network, in the last epoch that has them. "
    f"Those of biases (light) are drawn {ENLARGED} times as large, as in Fig. 2 of the curvature-radius paper."
)


def draw(history: History) -> Figure | None:
    """Draws the bars on a logarithmic axis; a radius that it cannot show (0, infinite, NaN) has none.

    None if there is no radius that it can show.

    Source: Fig. 2 of `curvature-radius.txt`.
    """
    columns = [name for name in history.rows[0] if name.startswith(PREFIX)]
    with_radii = [row for row in history.rows if any(row.get(name) for name in columns)]
    if not with_radii:
        return None
    names = [name.removeprefix(PREFIX) for name in columns]
    values = [with_radii[-1].get(name) for name in columns]
    biases = ["bias" in name or "beta" in name for name in names]
    radii = [float(v) if isinstance(v, (int, float)) else math.nan for v in values]
    heights = [r * ENLARGED if bias else r for r, bias in zip(radii, biases)]
    heights = [height if 0 < height < math.inf else math.nan for height in heights]
    if not any(height > 0 for height in heights):
        return None
    figure = Figure(figsize=(WHOLE[0], 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_ylabel("radius (log scale)")
    colours = [COLOURS["input" if bias else "train"] for bias in biases]
    axes.bar(range(len(heights)), heights, color=colours)
    axis_scale.log(axes, heights)
    if len(names) <= 40:
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
    else:
        axes.set_xlabel("variable")
    figure_style.plain(axes)
    return figure
