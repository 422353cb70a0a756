"""What rules need of gradients and layers: lengths in float32, gradients without regularisers, layers in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tflbt.training import keras_internals


def squared_norm(tensors: Iterable[tf.Tensor]) -> tf.Tensor:
    """The sum of the squares of all numbers, in float32."""
    return 2.0 * tf.add_n([tf.nn.l2_loss(tf.cast(tensor, tf.float32)) for tensor in tensors])


def without_regularization(
    model: tf.keras.Model, gradients: list[tf.Tensor], factor: Any = 1.0
) -> list[tf.Tensor]:
    """An update's gradients, before its step, less `factor` times those of what depends on weights alone.

    These are kernel regularisers and functions given to `add_loss`; losses of activities stay.
    """
    with tf.GradientTape() as tape:
        losses = keras_internals.regularization_losses(model)
        total = tf.add_n([tf.cast(loss, tf.float32) for loss in losses]) if losses else None
    if total is None:
        return gradients
    slopes = tape.gradient(total, model.trainable_variables)
    return [
        gradient
        if slope is None
        else gradient - tf.cast(factor, gradient.dtype) * tf.cast(slope, gradient.dtype)
        for gradient, slope in zip(gradients, slopes)
    ]


def layers_in_order(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """The layers of a model and of the models in it, in order."""
    return [
        part
        for layer in model.layers
        for part in (layers_in_order(layer) if getattr(layer, "layers", None) else [layer])
    ]
