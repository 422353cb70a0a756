"""Keeps what Keras's own callbacks forget, so that a trial goes on in the middle as if it had not been killed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# What they have learnt of the epochs so far, and set back when training begins.
_LEARNT = {
    tf.keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    tf.keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    tf.keras.callbacks.ModelCheckpoint: ("best",),
}  # fmt: skip


class KerasState(tf.keras.callbacks.Callback):
    """Keeps the state of EarlyStopping, ReduceLROnPlateau and ModelCheckpoint, and whether training was over.

    Place it right after them, and give it to `Checkpoint` as one of the callbacks whose state to keep.

    Args:
        callbacks: The callbacks before it; those of other kinds are passed over.

    Attributes:
        over: Whether one of the callbacks before it has ended the training.
        first_epoch: The epoch (from 0) with which training must begin; set it after `restore`.
        began: Whether an epoch has begun.

    Raises:
        ValueError: At the first epoch, if it is not `first_epoch`.

    Example:
        >>> stopping = tf.keras.callbacks.EarlyStopping("loss", patience=3)
        >>> KerasState([stopping]).state()["callbacks"][0]["wait"]
        0
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        super().__init__()
        self._supports_tf_logs = True
        self._kept = [(one, _learnt_by(one)) for one in callbacks if _learnt_by(one)]
        self._restored: list[dict[str, Any]] | None = None
        self.over = False
        self.first_epoch = 0
        self.began = False

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "over": self.over,
            "callbacks": [
                {name: _plain(getattr(one, name, None)) for name in names}
                for one, names in self._kept
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.over, self._restored = state["over"], state["callbacks"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Puts back at the first epoch what the callbacks have set back at the beginning of training."""
        if not self.began and epoch != self.first_epoch:
            raise ValueError(
                f"initial_epoch={epoch} must be {self.first_epoch}, where the trial was left: hypermodel.fit must give "
                "the keyword arguments that it gets to model.fit."
            )
        self.began = True
        if self._restored is not None:
            for (one, _), state in zip(self._kept, self._restored):
                for name, value in state.items():
                    setattr(one, name, value)
        self._restored = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes whether a callback before this one has ended the training."""
        self.over = bool(self.model.stop_training)


def _learnt_by(callback: Any) -> tuple[str, ...]:
    """Names of what to keep of a callback; none of one that says its state itself."""
    if hasattr(callback, "state") and hasattr(callback, "restore"):
        return ()
    return next((names for kind, names in _LEARNT.items() if isinstance(callback, kind)), ())


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, for JSON; arrays as they are."""
    return value.item() if isinstance(value, np.generic) else value
