"""What Keras computes of a batch as a whole, which sub-batches cannot: states of layers, losses that are one number."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt.control.batch_plan import BatchPlan
from tflbt.training import keras_internals


def check_stateful(model: tf.keras.Model, plan: BatchPlan) -> None:
    """Refuses several sub-batches where a layer keeps states from a batch to the next, sample by sample.

    Raises:
        ValueError: If a recurrent layer is stateful and a rank takes several sub-batches for an update.
    """
    if plan.sub_batches == 1:
        return
    for layer in model.submodules:
        if isinstance(layer, tf.keras.layers.RNN) and layer.stateful:
            raise ValueError(
                f"layer {layer.name!r} has stateful=True, so that every sample goes on from the state of the sample in "
                f"its place of the batch before; but batch_size={plan.batch_size} has {plan.sub_batches} sub-batches "
                "per rank, each of which would go on from another. Give a rank its whole share as one sub-batch "
                "(leave sub_batch_size out), or set stateful=False."
            )


def kept_by_layers(model: tf.keras.Model) -> list[tf.Variable]:
    """What layers may change in `call`, but for the statistics of BatchNormalization and the state of random layers."""
    norms = [m for m in model.submodules if isinstance(m, tf.keras.layers.BatchNormalization)]
    random = [generator.state for generator in keras_internals.random_generators(model)]
    known = {v.ref() for v in (*random, *(v for norm in norms for v in norm.weights))}
    return [
        v
        for v in model.non_trainable_weights
        if isinstance(v, tf.Variable) and not v.trainable and v.ref() not in known
    ]


def tell_of_states(model: tf.keras.Model, x: Any) -> None:
    """Names what layers change when they are called on inputs in training; changes it."""
    variables = kept_by_layers(model)
    if not variables:
        return
    before = [variable.numpy() for variable in variables]
    model(x, training=True)
    changed = [v.name for v, old in zip(variables, before) if not np.array_equal(v.numpy(), old)]
    if changed:
        logging.warning(
            "%s, which layers change when they are called, will be changed by every sub-batch, and on every rank; "
            "Keras does so once per batch. A counter counts faster, a moving average moves further. Change it in a "
            "callback, or in after_update of a tflbt.training.Rule.",
            ", ".join(changed),
        )


class Notice:
    """Says once of losses and metrics that they return one number for a batch, where batches are divided."""

    def __init__(self, plan: BatchPlan | None) -> None:
        self.due = plan is not None and plan.sub_batches * plan.ranks > 1

    def consider(self, model: tf.keras.Model, y: Any, y_pred: Any) -> None:
        """Looks at the losses and metrics of a model with one output, given a batch of it."""
        if not self.due:
            return
        self.due = False
        y, y_pred = tf.nest.flatten(y), tf.nest.flatten(y_pred)
        if len(y) != 1 or len(y_pred) != 1:
            return
        found = [
            name
            for name, function in keras_internals.own_functions_of_batches(model)
            if tf.convert_to_tensor(function(*_alike(*y, *y_pred))).shape.rank == 0
        ]
        if found:
            logging.warning(
                "%s: one number is returned for a batch. It is taken as the mean over a sub-batch's samples: if it "
                "is something else, as a sum or a share of the whole batch (Dice), the result depends on the number "
                "of sub-batches. Return a number for each sample, or for each of its positions.",
                ", ".join(found),
            )


def _alike(y: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Targets of the type and rank of the outputs, as Keras hands them to a function."""
    if y.dtype.is_floating and y_pred.dtype.is_floating:
        y = tf.cast(y, y_pred.dtype)
    if y.shape.rank is not None and y.shape.rank + 1 == y_pred.shape.rank and y_pred.shape[-1] == 1:
        y = y[..., None]
    return y, y_pred
