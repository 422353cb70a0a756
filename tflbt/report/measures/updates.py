"""The figures of what rules measure of every update."""

from __future__ import annotations

from matplotlib.figure import Figure

from tflbt.report.measures.panels import Line, Panel, PanelFigure
from tflbt.runs.history import History

FIGURES = (
    PanelFigure(
        "noise_scale",
        "Gradient noise scale",
        "The batch size at which noise and true gradient are equally large in an update (McCandlish et al. 2018): far "
        "below it twice the batch is worth almost twice the rate, far above it little. Below, what it is made of, and "
        "the noise of SGD's motion by rate, batch and momentum, another quantity in the unit of the rate. Gaps: the "
        "true gradient was too small to be told from noise.",
        (
            Panel(
                "samples",
                (
                    Line("noise_scale", "noise scale", "eigenvalue"),
                    Line("batch_size", "batch size", "muted", "--"),
                ),
                needs=("noise_scale",),
            ),
            Panel(
                "squares",
                (
                    Line("gradient_variance", "variance", "validation"),
                    Line("gradient_square", "true gradient", "train"),
                ),
            ),
            Panel("predicted", (Line("noise_scale_predicted", "μN / m(1−κ)", "rate"),)),
        ),
    ),
)


def draw(history: History) -> dict[str, Figure | None]:
    """Returns the figures by name, None for those without data."""
    return {figure.name: figure.draw(history) for figure in FIGURES}
