"""What layers keep from a batch to the next, which sub-batches cannot, or change more often."""

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
    for layer in keras_internals.parts(model):
        if isinstance(layer, tf.keras.layers.RNN) and layer.stateful:
            raise ValueError(
                f"layer {layer.name!r} has stateful=True, so that every sample goes on from the state of the sample in "
                f"its place of the batch before; but batch_size={plan.batch_size} has {plan.sub_batches} sub-batches "
                "per rank, each of which would go on from another. Give a rank its whole share as one sub-batch "
                "(leave sub_batch_size out), or set stateful=False."
            )


def kept_by_layers(model: tf.keras.Model) -> list[tf.Variable]:
    """What layers may change in `call`, but for the statistics of BatchNormalization and the state of random layers."""
    norms = [
        m for m in keras_internals.parts(model) if isinstance(m, tf.keras.layers.BatchNormalization)
    ]
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
