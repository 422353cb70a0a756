"""The losses of single samples, whatever the model's loss is, and the mean loss of some of them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt.data.user_functions import converted
from tflbt.training.pending_metrics import preserved


def sample_losses(
    model: tf.keras.Model, x: Any, y: Any, y_pred: Any, sample_weight: Any
) -> tf.Tensor:
    """The loss of each sample, `[n]`, as the model's own `compute_loss` has it; updates the metric of the loss."""
    # The loss of n samples is sum(v_i l_i) / n plus what does not depend on v, for weights v of the samples, and its
    # derivative by v_i is l_i / n: so any loss, of any number of outputs, gives the losses of its samples.
    ones = tf.ones(tf.shape(tf.nest.flatten(y_pred)[0])[:1])
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(ones)
        loss = converted(model.compute_loss)(x, y, y_pred, _weighted(sample_weight, ones))
    slopes = tape.gradient(loss, ones)
    if slopes is None:
        raise ValueError(
            "Choosing samples, as small_loss=SmallLossDiscarding(...) does, needs the losses of single samples, but "
            f"the compute_loss of {type(model).__name__} does not use its sample_weight."
        )
    return slopes * tf.cast(tf.size(ones), slopes.dtype)


def loss_of(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    y_pred: Any,
    sample_weight: Any,
    chosen: tf.Tensor,
    preserve: list[tf.Variable],
) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean loss of the chosen samples, and their number; `preserve` is what must not count them again."""
    number = tf.math.count_nonzero(chosen, dtype=tf.float32)
    weight = tf.math.divide_no_nan(tf.cast(tf.size(chosen), tf.float32), number)
    with preserved(preserve):
        weights = tf.where(chosen, weight, 0.0)
        return converted(model.compute_loss)(
            x, y, y_pred, _weighted(sample_weight, weights)
        ), number


def _weighted(sample_weight: Any, weights: tf.Tensor) -> Any:
    """Sample weights (None, or one per sample or per position of it) times weights of whole samples."""
    if sample_weight is None:
        return weights

    def times(values: tf.Tensor) -> tf.Tensor:
        shape = [-1, *[1] * (values.shape.rank - 1)]
        return values * tf.cast(tf.reshape(weights, shape), values.dtype)

    return tf.nest.map_structure(times, sample_weight)
