"""Where a `fit` is saved or ended between two updates, because a signal, the clock or a number of updates asks for it.

The ranks agree without a further collective: what each wishes travels with the update's own reduction, and after the
update all see the same sum. A process alone asks itself.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf
from absl import logging

from tflbt.distributed import comm, membership, restart, signals
from tflbt.training.interruption import position
from tflbt.training.interruption.position import Position
from tflbt.training.sources.rank_data import FitData
from tflbt.training.update_state import TrainingModel


class Saver(Protocol):
    """What writes checkpoints: `tflbt.callbacks.Checkpoint`."""

    interrupts: bool
    every_updates: int | None
    every_minutes: float | None
    preemption: bool
    directory: Path

    def save_within_epoch(self, position: Position) -> None:
        """Writes a checkpoint inside an epoch; every rank calls it."""

    def restore_within_epoch(self) -> None:
        """Restores what callbacks know of an epoch that goes on, after its beginning."""


class Interruption:
    """Watches over one `fit` of a model, for a saver."""

    def __init__(
        self, model: TrainingModel, saver: Saver, notice: signals.Notice, keeps: bool
    ) -> None:
        self.model, self.saver, self.notice = model, saver, notice
        self.keeps = keeps  # whether the data have a place to which one can return
        self.epoch = self.updates = 0  # the epoch, and its updates that are done
        self._unsaved = 0  # updates since the last checkpoint
        self._saved_at = time.monotonic()
        self._wishes = (False, False)
        self._leaving = False

    def begin_epoch(self, epoch: int, where: Position | None) -> None:
        """Begins an epoch, or goes on inside it."""
        self.epoch, self.updates = epoch, 0 if where is None else where.updates
        if where is not None:
            self.saver.restore_within_epoch()

    def before_update(self) -> None:
        """Tells the other ranks what this one wishes: to leave; to save."""
        if not self.saver.interrupts:
            return
        wishes = (self.notice.received, self._minutes_are_over())
        if self.model.reduction.varies and wishes != self._wishes:
            self.model.update_state.wishes.assign([float(wish) for wish in wishes])
        self._wishes = wishes

    def _minutes_are_over(self) -> bool:
        minutes = self.saver.every_minutes
        return minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes

    def after_update(self, step: int, steps: int | None) -> None:
        """Saves, and ends the training, where that is wished, unless the epoch ends here, which saves it anyway."""
        self.updates += 1
        self._unsaved += 1
        if not self.saver.interrupts:
            return
        leave, save = self.notice.received, self._minutes_are_over()
        if self.model.update_state.listens and self.model.reduction.varies:
            leave, save = (self.model.update_state.agreed.numpy() > 0).tolist()
        if steps is not None and step >= steps:
            return
        every = self.saver.every_updates
        save |= every is not None and self._unsaved >= every
        if self.keeps and (leave or save):
            where = position.here(self.model, self.epoch, self.updates, step)
            self.saver.save_within_epoch(where)
            self.saved()
        if leave:
            self._end(f"in epoch {self.epoch + 1}, after its update {self.updates}")

    def saved(self) -> None:
        """Counts from a checkpoint on."""
        self._unsaved, self._saved_at = 0, time.monotonic()

    def leaves_after_epoch(self) -> bool:
        """Whether a rank has been asked to end; every rank must make the same call."""
        if heeds(self.saver):
            mine = tf.constant(float(self.notice.received))
            plain = self.model.reduction.uncompressed
            (summed,) = comm.all_reduce_sum([mine], "tflbt.leave", plain)
            self._leaving = bool(summed > 0)
        return self._leaving or self.model.update_state.wanted_ranks is not None

    def after_epoch(self, over: bool) -> None:
        """Ends the training between two epochs, where that is wished, unless it is over."""
        state = self.model.update_state
        wanted, state.wanted_ranks = state.wanted_ranks, None
        if over:
            return
        if wanted is not None:
            where = f"after epoch {self.epoch + 1}, to go on with {wanted.ranks} ranks"
            self._end(where, wanted.ranks, "resize")
        if self._leaving:
            self._end(f"after epoch {self.epoch + 1}")

    def _end(self, where: str, ranks: int | None = None, why: str = "preempted") -> None:
        """Writes what is asked for, and ends the training."""
        reduction = self.model.reduction
        ranks = reduction.size if ranks is None else ranks

        def ask() -> None:
            restart.ask(self.saver.directory, ranks, why)
            logging.warning(
                "The training ends %s, with status %d: start it again with --resume (a script: Checkpoint.resume).",
                where,
                restart.EXIT_STATUS,
            )

        comm.on_chief(ask, "tflbt.restart", reduction)
        raise restart.RestartNeeded(f"the training ended {where}")


def heeds(saver: Saver) -> bool:
    """Whether signals end the training in order; where ranks come and go, the launcher ends those that go by them."""
    return saver.preemption and not membership.elastic()


def saver_of(callbacks: Any) -> Saver | None:
    """The callback that writes checkpoints, of those of a `fit`, if there is one."""
    found = tf.nest.flatten(getattr(callbacks, "callbacks", callbacks) or [])
    return next((each for each in found if hasattr(each, "save_within_epoch")), None)


@contextlib.contextmanager
def watching(model: TrainingModel, callbacks: Any, data: FitData, x: Any) -> Iterator[None]:
    """Has a `fit` in the body saved and ended where its callbacks want that; without a saver, does nothing.

    Raises:
        ValueError: If it is to be saved within epochs, and its data have no place to which one can return.
    """
    state, saver = model.update_state, saver_of(callbacks)
    listens = saver is not None and (heeds(saver) or saver.every_minutes is not None)
    if state.listens != listens:
        state.listens = listens
        if model.reduction.varies:
            model.train_function = None
    if saver is None:
        state.interruption = None
        yield
        return
    keeps = data.rows is not None
    if not keeps and saver.interrupts:
        _without_place(saver, x, model.reduction.rank)
    listening = signals.listening() if heeds(saver) else contextlib.nullcontext(signals.Notice())
    with listening as notice:
        state.wishes.assign([0.0, 0.0])
        state.agreed.assign([0.0, 0.0])
        state.interruption = Interruption(model, saver, notice, keeps)
        try:
            yield
        finally:
            state.interruption = state.wanted_ranks = None


def _without_place(saver: Saver, x: Any, rank: int) -> None:
    """Refuses checkpoints inside an epoch of data that cannot go on there; says what a signal does."""
    kind = "a tf.data.Dataset" if isinstance(x, tf.data.Dataset) else type(x).__name__
    text = f"x is {kind}, whose place inside an epoch cannot be kept (whole arrays' can)"
    for name in ("every_updates", "every_minutes"):
        if (value := getattr(saver, name)) is not None:
            raise ValueError(f"{name}={value!r}: {text}: leave it out, or give fit whole arrays.")
    if rank == 0:
        logging.warning(
            "%s: a signal ends the training after the running update, and a resumed run goes on after the last epoch "
            "that was written.",
            text,
        )


def wishes(model: TrainingModel) -> list[tf.Tensor]:
    """What this rank contributes to an update's reduction; nothing where no `fit` is to be interrupted."""
    state = model.update_state
    return [state.wishes.read_value()] if state.listens and model.reduction.varies else []


def settle(model: TrainingModel, summed: list[tf.Tensor]) -> None:
    """Notes what all ranks wish."""
    for total in summed:
        model.update_state.agreed.assign(total)
