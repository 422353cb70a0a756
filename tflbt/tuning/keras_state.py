"""Keeps the state that Keras's own callbacks forget, so that a killed trial continues as if it had not been killed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tflbt.runs.config import without_numpy
from tflbt.training.keras_internals import TensorLogs

# What they have learnt from the epochs so far, and reset when training begins.
_LEARNT = {
    tf.keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    tf.keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    tf.keras.callbacks.ModelCheckpoint: ("best",),
}  # fmt: skip


class KerasState(TensorLogs, tf.keras.callbacks.Callback):
    """Keeps the state of EarlyStopping, ReduceLROnPlateau and ModelCheckpoint, and whether training was over.

    Place it right after these callbacks, and pass it to `Checkpoint` as one of those whose state to keep; after
    `restore`, set `first_epoch` (from 0), with which training must begin. `began` tells whether an epoch has begun.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        super().__init__()
        learnt = ((callback, _learnt_by(callback)) for callback in callbacks)
        self._learnt = [(callback, names) for callback, names in learnt if names]
        self._restored: list[dict[str, Any]] | None = None
        self.over = False
        self.first_epoch = 0
        self.began = False

    def state(self) -> dict[str, Any]:
        """Returns the state for a checkpoint."""
        return {
            "over": self.over,
            "callbacks": [
                {name: without_numpy(getattr(callback, name, None)) for name in names}
                for callback, names in self._learnt
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes the state of a checkpoint."""
        self.over, self._restored = state["over"], state["callbacks"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Restores at the first epoch what the callbacks have reset at the beginning of training."""
        if not self.began and epoch != self.first_epoch:
            raise ValueError(
                f"initial_epoch={epoch} must be {self.first_epoch}, where the trial was left: hypermodel.fit must pass "
                "the keyword arguments that it gets on to model.fit."
            )
        self.began = True
        if self._restored is not None:
            for (callback, _), state in zip(self._learnt, self._restored):
                for name, value in state.items():
                    setattr(callback, name, value)
        self._restored = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes whether a callback before this one has ended the training."""
        self.over = bool(self.model.stop_training)


def _learnt_by(callback: Any) -> tuple[str, ...]:
    """Returns the names of a callback's attributes to keep; none if the callback has its own `state`."""
    if hasattr(callback, "state") and hasattr(callback, "restore"):
        return ()
    return next((names for kind, names in _LEARNT.items() if isinstance(callback, kind)), ())
