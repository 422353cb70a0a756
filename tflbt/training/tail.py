"""How the epochs of a `fit` end, and what the next `fit` must know of them: `tflbt.control.tail` in Keras."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt.control.progress import Progress
from tflbt.control.tail import Tail
from tflbt.training.keras_internals import TensorLogs
from tflbt.training.sources.rank_data import FitData
from tflbt.training.update_state import TrainingModel

SUB_BATCHES = "sub-batches"  # the unit of what is counted where the data are no whole arrays


def start(model: TrainingModel, kind: str, data: FitData) -> FitData:
    """Takes up how the epochs of a `fit` end; returns the data, which go on over epochs' ends where they must.

    Raises:
        ValueError: If the data cannot be carried over or dropped, or a batch is more than an epoch.
    """
    length, steps = data.rows, data.steps_per_epoch
    goes_on = length is not None
    step, unit = data.plan.ranks * data.plan.samples_a_rank_computes, "samples"
    if length is None:
        length, goes_on, data = _of_sub_batches(kind, data)
        step, unit, steps = 1, SUB_BATCHES, length
    tail = None if length is None else Tail(kind, length, step, steps, unit)
    if tail is not None:
        tail.check(data.plan.sub_batches * tail.step)
    state, skips = model.update_state, kind == "drop" and goes_on
    if state.skips != skips:
        model.train_function = None
    state.tail, state.skips = tail, skips
    state.skipped.assign(0)
    return data


def _of_sub_batches(kind: str, data: FitData) -> tuple[int | None, bool, FitData]:
    """A rank's sub-batches per epoch, if known, whether Keras reads on after an epoch, and the data to read."""
    x, steps = data.sub_batches, data.steps_per_epoch
    size = int(x.cardinality()) if isinstance(x, tf.data.Dataset) else -1
    if isinstance(x, tf.keras.utils.Sequence):
        size = len(x)
    known = steps if steps is not None and steps > 0 else size if size > 0 else None
    if kind == "update":
        return known, False, data
    if known is None:
        raise ValueError(
            f"tail={kind!r} needs the number of sub-batches in an epoch, which x does not know: give fit "
            "steps_per_epoch, or apply tf.data.experimental.assert_cardinality to the data set."
        )
    # As Keras reads it.
    begins_anew = size > 0 and (steps in (None, size) or isinstance(x, tf.keras.utils.Sequence))
    if kind == "carry" and begins_anew:
        if not isinstance(x, tf.data.Dataset):
            raise ValueError(
                "tail='carry' cannot go on with a Sequence, which begins anew in every epoch: give x as a "
                "tf.data.Dataset, a generator with steps_per_epoch, or whole arrays."
            )
        data = dataclasses.replace(data, sub_batches=x.repeat(), steps_per_epoch=known)
    return known, kind == "carry" or not begins_anew, data


def facts(model: TrainingModel, kind: str) -> dict[str, Any]:
    """What must be equal on all ranks, by name, so that they make the same updates with the same randomness."""
    state, counted = model.update_state, {}
    if kind != "update" and state.tail is not None:
        counted["the sub-batches of an epoch"] = state.tail.steps
    return {"tail": kind, "the epochs trained since compile": state.progress, **counted}


def begin_fit(model: TrainingModel, epoch: int, epochs: int) -> int:
    """Says what whole arrays are dealt for, as a `fit` begins with an epoch; returns the epoch's draw."""
    state, tail, carried, passed = model.update_state, model.update_state.tail, 0, 0
    position = state.position  # inside this epoch
    draw, updates = state.progress.first_draw(epoch), int(model.optimizer.iterations)
    if draw == 0 and updates and position is None and model.reduction.rank == 0:
        logging.warning(
            "The optimizer has made %d updates before compile or load: fit begins with the order of samples and other "
            "randomness of a first epoch. Give it initial_epoch to go on with those of a later one.",
            updates,
        )
    if tail is not None:
        joined = tail.kind == "carry" and tail.unit != SUB_BATCHES
        if joined:
            batch = model.batch_plan.batch_size
            carried = state.progress.carried_into(epoch, tail.length, batch)
        tail.left = carried
        if position is not None:
            tail.left, carried = -position.taken, -position.taken if joined else 0
            passed = 0 if joined else position.steps(tail)
    carried //= model.batch_augmentation.instances
    state.course.assign([draw, draw + epochs - epoch, carried, passed])
    return draw


def end_epoch(model: TrainingModel, progress: Progress) -> None:
    """Counts an epoch, for the next `fit` and for checkpoints."""
    state, carried = model.update_state, 0
    if state.tail is not None:
        state.tail.end()
        carried = state.tail.left if state.tail.unit != SUB_BATCHES else 0
    state.progress = dataclasses.replace(progress, carried=carried)


def notice(model: TrainingModel, samples: int | None = None) -> None:
    """Says, once after each `compile`, that an epoch's last update has less than half a batch.

    `samples` are those of an epoch, if its length was not known before.
    """
    state, plan = model.update_state, model.batch_plan
    tail = state.tail or (samples and Tail("update", samples))
    if not tail or state.noticed_tail:
        return
    batch = plan.batch_size if tail.unit == "samples" else plan.sub_batches
    rest = tail.lopsided(batch)
    if rest:
        state.noticed_tail = True
        if model.reduction.rank == 0:
            logging.warning(
                "The last update of an epoch has %d %s, the others %d (batch_size=%d), and is as large a step: "
                "fit(tail='carry') lets them begin the next epoch's first update, tail='drop' leaves them out.",
                rest, tail.unit, batch, plan.batch_size,
            )  # fmt: skip


class Pace(TensorLogs, tf.keras.callbacks.Callback):
    """Ends epochs that do not end with an update of what is left; the last callback, after those that set the batch.

    Keras counts the sub-batches of an epoch, which are the same number in all, and ends it after those. So the update
    that is to be the last counts for all that are missing, whatever it takes itself.
    """

    of_a_single_fit = True

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self._step = 0  # the sub-batches of the epoch that Keras has counted
        self._batch = 0  # of the next update, in the tail's unit
        self._sub_batches = 0  # that it takes

    def _decide(self) -> None:
        """Sets what the next update takes, and what it counts for."""
        state, sub_batches = self.model.update_state, self.model.batch_plan.sub_batches
        tail, self._batch = state.tail, sub_batches * state.tail.step
        taken = tail.next(self._batch)
        self._sub_batches = taken if tail.unit == SUB_BATCHES else sub_batches * (taken > 0)
        if not taken:
            state.data_may_end.assign(False)
        after = tail.step_after(self._batch, self._step)
        self.model.sub_batches_variable.assign(after - self._step)
        self._step = after

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Begins with what was carried over; throws away what was left of the epoch before."""
        state = self.model.update_state
        state.tail.check(self.model.batch_plan.sub_batches * state.tail.step)
        state.tail.begin(last_epoch=epoch + 1 == self.epochs)
        self._step = 0 if state.position is None else state.position.steps(state.tail)
        self._decide()

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Sets what the update takes, now that Keras has read what it counts for."""
        self.model.sub_batches_variable.assign(self._sub_batches)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Counts what the update took."""
        tail = self.model.update_state.tail
        tail.take(self._batch)
        if self._step < tail.steps:
            self._decide()
        elif self.model.update_state.skips:
            self.model.update_state.skipped.assign(tail.steps_left)
