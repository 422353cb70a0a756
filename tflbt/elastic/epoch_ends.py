"""What `elastic.fit` does at the ends of epochs: notes the training, asks whether ranks come or go, times the pause."""

from __future__ import annotations

import time
from typing import Any

import tensorflow as tf

from tflbt.distributed import comm, elastic_worker
from tflbt.training.keras_internals import TensorLogs


class Commits(TensorLogs, tf.keras.callbacks.Callback):
    """The last callback: notes the training after each epoch, and ends the `fit` where ranks are to come or go.

    Args:
        session: The `Session` of the `fit`.
    """

    def __init__(self, session: Any) -> None:
        super().__init__()
        self.session, self.ranks_change = session, False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Gives callbacks without `restore` their attributes back, which their `on_train_begin` may have reset."""
        self.session.states.begin(self.model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the training before its first epoch."""
        if self.session.saved is None:
            self.session.commit(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the training; asks the launcher whether ranks are to come or go."""
        session, chief = self.session, comm.is_chief()
        session.history[epoch] = {name: _number(value) for name, value in (logs or {}).items()}
        session.commit(epoch + 1)
        if chief:
            elastic_worker.report(epoch + 1, session.sizes())
        if epoch + 1 == session.epochs or self.model.stop_training:
            return
        change = float(chief and elastic_worker.ranks_are_to_change())
        (total,) = comm.all_reduce_sum([tf.constant(change)], "tflbt.elastic.change")
        if total > 0:
            session.paused_at = time.perf_counter()
            self.ranks_change = self.model.stop_training = True


class Resizing(TensorLogs, tf.keras.callbacks.Callback):
    """The first callback: adds to an epoch's row how long nothing was trained before it, as ranks came or went.

    That is the time from the decision at an epoch's end, or from a death, to the beginning of the next epoch, which
    RunLog's `seconds` of neither epoch hold.
    """

    def __init__(self, session: Any) -> None:
        super().__init__()
        self.session, self.seconds = session, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Ends the pause."""
        begun, self.session.paused_at = self.session.paused_at, None
        self.seconds = 0.0 if begun is None else time.perf_counter() - begun

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the column."""
        if logs is not None:
            logs["seconds_joining"] = self.seconds


class Once(tf.keras.callbacks.Callback):
    """Ends a training after its first update."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """The first update is over."""
        self.model.stop_training = True


def _number(value: Any) -> Any:
    return value.numpy().item() if tf.is_tensor(value) and not value.shape.rank else value
