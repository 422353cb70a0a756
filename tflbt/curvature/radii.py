"""The radius of curvature of the loss along each weight, exactly: what the cheap radii of optimizers stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.checks import whole
from tflbt.curvature.block import block_of
from tflbt.curvature.hessian_of import hessian_of
from tflbt.curvature.products import mean_over_samples
from tflbt.curvature.samples import MeasuredSamples
from tflbt.curvature.selection import variables_of
from tflbt.curvature.total_loss import total_loss_of
from tflbt.curvature.whole_model import preserved, whole_model
from tflbt.distributed import comm


@checks.arguments
def exact_radii(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    *,
    layers: str | Sequence[str] = "output",
    most: int = 10_000,
    sub_batch_size: int | None = None,
    loss: Any = None,
    reduction: comm.Reduction | None = None,
) -> tuple[np.ndarray, ...]:
    r"""Compute the radius of curvature of the loss along each weight of some layers.

    $$R_i = \left| \frac{(1 + g_i^2)^{3/2}}{\partial^2 F / \partial w_i^2} \right|, \qquad g = \nabla F$$

    The second derivatives are the Hessian's diagonal, by one exact product per weight: a yardstick for small layers,
    not something to train by. Near the minimum at b of a parabola R is `|(w - b) / g|` times `(1 + g^2)^{3/2}`, so that
    for small slopes and b = 0 it is the `|w / g|` of `tflbt.optimizers.CurvatureRadius`, whose median per layer is
    that of `MedianCurvature`.

    Args:
        model: Any built Keras model, compiled unless `loss` is given; it runs in inference mode.
        x: Inputs of this rank, `[samples, ...]`.
        y: Targets, likewise.
        layers: Default "output"; see `top_eigenvalue`.
        most: Default 10,000. The largest number of weights, each of which costs a product.
        sub_batch_size: Default None: 256.
        loss: Default None: the loss the model was compiled with, without regularisers.
        reduction: Default None: all ranks, whose samples count alike.

    Returns:
        R, an array per variable, shaped like it; infinite where the loss does not curve.

    Raises:
        ValueError: As `top_eigenvalue`, or more weights than `most`.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, input_shape=(1,))])
        >>> model.compile(loss="mse")
        >>> model.set_weights([np.array([[0.0]])])             # F = w^2, at its minimum
        >>> exact_radii(model, np.ones([4, 1]), np.zeros([4, 1]))[0].round(6).tolist()
        [[0.5]]

    Source: equation 9 of `curvature-radius.txt`; its approximations are equations 16 to 20.
    """
    whole("most", most, at_least=1)
    agreed = (reduction or comm.EVERYONE).uncompressed
    samples = MeasuredSamples.of(x, y, sub_batch_size=sub_batch_size)
    options = {"sub_batch_size": sub_batch_size, "loss": loss, "reduction": reduction}
    with hessian_of(model, x, y, layers=layers, **options) as hessian:
        if hessian.parameters > most:
            raise ValueError(
                f"layers={layers!r} have {hessian.parameters:,} weights, each of which costs a product: choose smaller "
                f"layers, or allow more than most={most:,}."
            )
        unit = np.eye(hessian.parameters, dtype=hessian.dtype.as_numpy_dtype)
        diagonal = np.array([hessian.product(row)[place] for place, row in enumerate(unit)])
        second = hessian.split(diagonal.astype(np.float64))
    block = None if layers == "all" else block_of(model, samples, layers)
    variables = variables_of(model, layers) if block is None else block.variables
    network = whole_model(model, variables, total_loss_of(model, loss), samples)
    with preserved(model.variables):
        slopes = mean_over_samples(network.gradient_sums(samples), samples.count, agreed)
    with np.errstate(divide="ignore"):
        return tuple(
            (1 + g.numpy().astype(np.float64) ** 2) ** 1.5 / np.abs(h)
            for g, h in zip(slopes, second)
        )
