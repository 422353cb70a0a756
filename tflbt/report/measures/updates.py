"""The figures of what rules measure of every update, and of signal and noise at the ends of epochs."""

from __future__ import annotations

from matplotlib.figure import Figure

from tflbt.report.measures import radii
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
    PanelFigure(
        "signal_to_noise",
        "Signal to noise",
        "How much longer the part of an update's gradient along the true gradient is than the part across it, as "
        "measured on mini-batches and as estimated from the sub-batches of every update; below, both parts.",
        (
            Panel(
                "signal / noise",
                (
                    Line("signal_to_noise", "measured", "eigenvalue"),
                    Line("signal_to_noise_estimate", "estimated", "input", ":"),
                ),
            ),
            Panel(
                "length",
                (
                    Line("signal_length", "signal", "train"),
                    Line("noise_length", "noise", "validation"),
                ),
            ),
        ),
    ),
    PanelFigure(
        "augmentation_scale",
        "Gradients of instances",
        "How much longer the gradient of one instance of each sample is than the mean over all instances, on average "
        "over each epoch's updates: 1 where the instances agree, at most the root of their number.",
        (Panel("instance / mean", (Line("augmentation_scale", "length", "eigenvalue"),)),),
    ),
    PanelFigure(
        "noise_injection",
        "Noise that was added",
        "The length of the Gaussian noise that was added to an epoch's last gradient, before its clipping, and to the "
        "weights at which it was taken, divided by the length of these; the standard deviation of the noise on hidden "
        "layers' outputs and on targets; and the share of labels that were replaced by others.",
        (
            Panel(
                "noise / value",
                (
                    Line("injected_gradient_noise", "gradient", "train"),
                    Line("injected_weight_noise", "weights", "validation"),
                ),
            ),
            Panel(
                "std of noise",
                (
                    Line("activation_noise", "activations", "train"),
                    Line("target_noise", "targets", "validation", "--"),
                ),
            ),
            Panel("wrong labels", (Line("label_noise", "share", "eigenvalue"),)),
        ),
    ),
    PanelFigure(
        "gradient_norm",
        "Length of the gradient",
        "The length of an update's gradient before clipping, on average over each epoch's updates, without weight "
        "regularisers unless the recipe says so. It is larger with more noise: in small batches, and smaller with "
        "several instances of each sample.",
        (Panel("gradient norm", (Line("gradient_norm", "mean of the epoch", "train"),)),),
    ),
    PanelFigure(
        "strides",
        "Strides",
        "How far an update goes, on average over the weights of the layer that is watched: its gradient, what was "
        "really added to the weights, the latter divided by the learning rate, and the sum over the epoch, which is "
        "the length of the path. Last, how much the loss falls from update to update, divided by the learning rate, "
        "and what the gradient promises by weight.",
        (
            Panel(
                "gradient",
                (
                    Line("gradient_stride", "mean", "train"),
                    Line("gradient_stride_first", "first update", "input", ":"),
                ),
            ),
            Panel(
                "weights",
                (
                    Line("parameter_stride", "stride", "validation"),
                    Line("normalized_stride", "stride / rate", "rate", "--"),
                ),
            ),
            Panel("path length", (Line("path_length", "of the epoch", "validation"),)),
            Panel("loss / rate", (Line("loss_stride", "fall of the loss", "eigenvalue"),)),
            Panel("first order", (Line("loss_stride_first_order", "gradient²", "eigenvalue"),)),
        ),
    ),
)


def draw(history: History) -> dict[str, Figure | None]:
    """Returns the figures by name, None for those without data."""
    return {
        **{figure.name: figure.draw(history) for figure in FIGURES},
        "radii": radii.draw(history),
    }
