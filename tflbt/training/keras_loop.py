"""Fits Keras's own `compile` and loops over data to a model that takes several sub-batches per call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt.distributed import comm, watchdog
from tflbt.training import keras_internals
from tflbt.training.update_state import TrainingModel

# Keras's callbacks that only write, to a place that is the same for every rank: the chief's are enough.
WRITERS = (
    tf.keras.callbacks.ModelCheckpoint,
    tf.keras.callbacks.TensorBoard,
    tf.keras.callbacks.CSVLogger,
    tf.keras.callbacks.RemoteMonitor,
)
STEPS = "{} cannot be set: it is the number of sub-batches. Give fit batch_size and sub_batch_size."
UNDER_STRATEGY = (
    "A tf.distribute strategy is active, or was when the model was made: LargeBatchModel trains over Horovod ranks "
    "instead, so make and compile it outside of any strategy's scope."
)


def outside_of_functions(method: str) -> None:
    """Raises Keras's RuntimeError inside a `tf.function`."""
    if tf.inside_function():
        raise RuntimeError(
            f"Detected a call to `Model.{method}` inside a `tf.function`, but it manages its own: move the call out of "
            "all enclosing `tf.function`s. A model may be called on tensors inside of one, as in `model(x)`."
        )


@contextlib.contextmanager
def watched(model: TrainingModel, limit: float | None = None) -> Iterator[watchdog.Watchdog | None]:
    """Runs a watchdog while there are several ranks."""
    seconds = watchdog.configured_limit(limit)
    if model.reduction.size == 1 or seconds == 0:
        yield None
        return
    if not model.reduction.options:
        watchdog.link()  # where the program has started Horovod itself
    size, root = model.reduction.size, model.reduction.root
    with watchdog.Watchdog(seconds, comm.rank(), size, root) as dog:
        yield dog


@contextlib.contextmanager
def sub_batch_by_sub_batch(model: TrainingModel) -> Iterator[None]:
    """Makes Keras take single sub-batches: with more it refuses data of unknown length, and may lose some.

    (A predict function that it built for single steps leaves all but the first of several out.)
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
def ending_together(model: TrainingModel) -> Iterator[None]:
    """Waits at the end for all ranks: what the chief has written by then is there when `fit` returns on any of them.

    It is a sum, in which a rank that has failed and waits in `comm.join` takes part.
    """
    yield
    comm.all_reduce_sum([tf.ones([])], "tflbt.end_of_fit", model.reduction.uncompressed)


def callbacks_with(
    first: tf.keras.callbacks.Callback,
    callbacks: Any,
    reduction: comm.Reduction,
    last: tuple[tf.keras.callbacks.Callback, ...] = (),
) -> Any:
    """The callbacks between `first` and `last`, without those of ranks other than 0 that write.

    Raises:
        ValueError: If one of the callbacks is Keras's BackupAndRestore, and there are several ranks or it saves within
            epochs.
    """
    is_list = isinstance(callbacks, tf.keras.callbacks.CallbackList)
    others = tf.nest.flatten(callbacks.callbacks if is_list else callbacks or [])
    others = [each for each in others if not getattr(each, "of_a_single_fit", False)]
    backups = [each for each in others if isinstance(each, tf.keras.callbacks.BackupAndRestore)]
    if backups:
        if any(b.save_freq != "epoch" or b.save_before_preemption for b in backups):
            raise ValueError(
                f"BackupAndRestore(save_freq={backups[0].save_freq!r}, save_before_preemption="
                f"{backups[0].save_before_preemption}) saves within an epoch and counts its sub-batches as updates: "
                "use save_freq='epoch' alone, or tflbt.callbacks.Checkpoint."
            )
        if reduction.size > 1:
            raise ValueError(
                "BackupAndRestore would write the same files from every rank, and restore each rank by itself: use "
                "tflbt.callbacks.Checkpoint(directory), whose resume(model) is fit's initial_epoch."
            )
        logging.warning(
            "BackupAndRestore keeps no state of callbacks and no batch size that has changed: "
            "tflbt.callbacks.Checkpoint goes on exactly."
        )
    chosen = [c for c in others if reduction.rank == 0 or not isinstance(c, WRITERS)]
    chosen = [first, *chosen, *last]
    if not is_list:
        return chosen
    callbacks.callbacks = chosen
    for ours in (first, *last):
        ours.set_model(callbacks.model)
    return callbacks


def has_ended_itself(callbacks: Any) -> bool:
    """Whether a checkpoint has been restored after whose epoch a callback had set `stop_training`."""
    found = getattr(callbacks, "callbacks", callbacks)
    return any(getattr(each, "ended_itself", False) for each in tf.nest.flatten(found or []))


def check_compile(model: tf.keras.Model, loss: Any, steps_per_execution: Any) -> None:
    """Refuses what `compile` cannot do as Keras does."""
    if steps_per_execution not in (None, 1):
        raise ValueError(STEPS.format(f"steps_per_execution={steps_per_execution!r}"))
    if tf.distribute.has_strategy() or keras_internals.made_under_strategy(model):
        raise ValueError(UNDER_STRATEGY)
    for part in tf.nest.flatten(loss):
        reduction = getattr(part, "reduction", None)
        if reduction in (tf.keras.losses.Reduction.SUM, tf.keras.losses.Reduction.NONE):
            raise ValueError(
                f"loss {part.name!r} has reduction={reduction!r}: use 'sum_over_batch_size' (the mean over samples), "
                "so that the gradient does not depend on the number of sub-batches."
            )
