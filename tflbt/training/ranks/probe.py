"""A model on parts of a batch of real samples: what its loss and metrics are, without a training."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from tflbt.training import keras_internals
from tflbt.training.ranks.batch_parts import rows

SAMPLES = 64  # at most so many are looked at
ONE_NUMBER = (
    "one number is returned for a batch. It is taken as the mean over a sub-batch's samples: if it is something else, "
    "as a sum or a share of the whole batch (Dice), the result depends on the number of sub-batches. Return a number "
    "for each sample, or for each of its positions."
)


class RefusedError(ValueError):
    """What cannot be computed in parts."""


class Probe:
    """A model, and two parts of a batch."""

    def __init__(self, model: Any, batch: Any) -> None:
        self.model = model
        samples = int(tf.nest.flatten(batch)[0].shape[0])
        half = min(samples // 2, SAMPLES // 2)
        self.parts = [batch, batch]
        if half:
            self.parts = [rows(batch, 0, half), rows(batch, half, half)]

    def run(self, *batches: Any, test_step: bool = False) -> float:
        """Computes metrics from their start on some batches, and the loss on the last."""
        model = self.model
        model.reset_metrics()
        loss = 0.0
        for batch in batches:
            if test_step:
                model.test_step(batch)
                continue
            x, y, sample_weight = tf.keras.utils.unpack_x_y_sample_weight(batch)
            y_pred = model(x, training=False)
            loss = model.compute_loss(x, y, y_pred, sample_weight)
            model.compute_metrics(x, y, y_pred, sample_weight)
        return float(loss)

    @functools.cached_property
    def of_one_number(self) -> list[str]:
        """The user's losses and metrics, of a model with one output, that return one number for a batch."""
        x, y, _ = tf.keras.utils.unpack_x_y_sample_weight(self.parts[0])
        y, y_pred = tf.nest.flatten(y), tf.nest.flatten(self.model(x, training=False))
        if len(y) != 1 or len(y_pred) != 1:
            return []
        return [
            name
            for name, function in keras_internals.own_functions_of_batches(self.model)
            if tf.convert_to_tensor(function(*_alike(*y, *y_pred))).shape.rank == 0
        ]


def _alike(y: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Targets of the type and rank of the outputs, as Keras hands them to a function."""
    if y.dtype.is_floating and y_pred.dtype.is_floating:
        y = tf.cast(y, y_pred.dtype)
    if y.shape.rank is not None and y.shape.rank + 1 == y_pred.shape.rank and y_pred.shape[-1] == 1:
        y = y[..., None]
    return y, y_pred
