"""What Keras's own loops over data must be told for a model that takes several sub-batches a call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tflbt.distributed import comm, watchdog
from tflbt.training import keras_internals

# Keras's callbacks that only write files: where every rank gave them the same path, the chief's must do.
WRITERS = (
    tf.keras.callbacks.ModelCheckpoint,
    tf.keras.callbacks.TensorBoard,
    tf.keras.callbacks.CSVLogger,
)


@contextlib.contextmanager
def watched(
    model: tf.keras.Model, limit: float | None = None
) -> Iterator[watchdog.Watchdog | None]:
    """Runs a watchdog while there are several ranks."""
    seconds = watchdog.configured_limit(limit)
    if model.reduction.size == 1 or seconds == 0:
        yield None
        return
    with watchdog.Watchdog(seconds, comm.rank()) as dog:
        yield dog


@contextlib.contextmanager
def sub_batch_by_sub_batch(model: tf.keras.Model) -> Iterator[None]:
    """Makes Keras take single sub-batches: with more it refuses data of unknown length, and may lose some.

    (Its predict function, once made for single steps, leaves the others out.)
    """
    variable = model.sub_batches_variable
    if variable is None:  # not compiled
        yield
        return
    before = int(variable)
    variable.assign(1)
    try:
        yield
    finally:
        variable.assign(before)


@contextlib.contextmanager
def validating(
    model: tf.keras.Model, data: Any, steps: int | None, workers: dict[str, Any]
) -> Iterator[None]:
    """Makes Keras ready to begin `fit`, and its reader of validation data, both for single sub-batches.

    Housekeeping sets the number of sub-batches of an update at the start of each epoch.
    """
    with (
        sub_batch_by_sub_batch(model),
        keras_internals.validation_reader(model, data, steps, workers),
    ):
        yield


def callbacks_with(
    first: tf.keras.callbacks.Callback, callbacks: Any, reduction: comm.Reduction
) -> Any:
    """The callbacks with one more, called first where that can be chosen, and without other ranks' writers."""
    if isinstance(callbacks, tf.keras.callbacks.CallbackList):
        callbacks.callbacks.insert(0, first)
        first.set_model(callbacks.model)
        return callbacks
    given = tf.nest.flatten(callbacks if callbacks is not None else [])
    return [first, *(c for c in given if reduction.rank == 0 or not isinstance(c, WRITERS))]


def check_losses(loss: Any) -> None:
    """Refuses losses that sum: their size would depend on how the batch is split.

    Raises:
        ValueError: Naming the loss and its reduction.
    """
    for one in tf.nest.flatten(loss):
        reduction = getattr(one, "reduction", None)
        if reduction in (tf.keras.losses.Reduction.SUM, tf.keras.losses.Reduction.NONE):
            raise ValueError(
                f"loss {one.name!r} has reduction={reduction!r}: use 'sum_over_batch_size' (the mean over samples), so "
                "that the gradient does not depend on the number of sub-batches."
            )


def symbolic_inputs(model: tf.keras.Model) -> Any:
    """Keras inputs of the shapes and types that a subclassed model was built with.

    Raises:
        ValueError: If it is not built.
    """
    spec = model.save_spec()
    if not model.built or spec is None:
        raise ValueError(
            f"model={model.name!r} is not built, so its weights do not exist yet: call it on a batch of inputs first."
        )
    (inputs, *_), _ = spec
    return tf.nest.map_structure(lambda s: tf.keras.Input(s.shape[1:], dtype=s.dtype), inputs)
