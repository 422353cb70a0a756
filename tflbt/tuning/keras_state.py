"""Notes whether Keras's callbacks had ended a trial, and where it goes on; `Checkpoint` keeps what they had learnt."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt.training.keras_internals import TensorLogs


class KerasState(TensorLogs, tf.keras.callbacks.Callback):
    """Keeps whether training was over, which a stop by the search is not.

    Place it right behind the callbacks that may end a training, before the search's, and pass it to `Checkpoint` as one
    of those whose state to keep. Training must begin with `first_epoch`, from 0; `began` says whether it has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.over = False
        self.first_epoch = 0
        self.began = False

    def state(self) -> dict[str, Any]:
        """Returns the state for a checkpoint."""
        return {"over": self.over}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes the state of a checkpoint."""
        self.over = state["over"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Raises ValueError if training begins with another epoch than the first."""
        if not self.began and epoch != self.first_epoch:
            raise ValueError(
                f"initial_epoch={epoch} must be {self.first_epoch}, where the trial was left: hypermodel.fit must pass "
                "the keyword arguments that it gets on to model.fit."
            )
        self.began = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes whether a callback before this one has ended the training."""
        self.over = bool(self.model.stop_training)
