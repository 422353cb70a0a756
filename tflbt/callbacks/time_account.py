"""`TimeAccount`: where an epoch's time goes: computation, communication, waiting for input, validation."""

from __future__ import annotations

import time
from typing import Any

import tensorflow as tf

from tflbt.training.keras_internals import TensorLogs
from tflbt.training.update_state import time_updates

# What the entries of `model.update_state.seconds` count; every update adds to them.
_OF_UPDATES = ("seconds_input", "seconds_computation", "seconds_communication")


class TimeAccount(TensorLogs, tf.keras.callbacks.Callback):
    """Gives `RunLog` the seconds that an epoch spent on each kind of work, by this rank's clock.

    Columns of a `LargeBatchModel`: `seconds_computation` (forward, backward and optimizer steps),
    `seconds_communication` (all-reduces of the updates, waiting for slower ranks included), `seconds_input` (waiting
    for the next sub-batch) and `seconds_validation` (evaluations inside `fit`). Only the last is known for a plain
    Keras model. `seconds_curvature` and `seconds_resizing` come from the callbacks that measure or resize; the rest of
    the column `seconds` is everything else: tracing in the first epoch, other callbacks, files. `tflbt.elastic.fit`
    adds `seconds_joining`, between two epochs: the ranks meet.

    Updates read the clock only where this callback is among those of their `fit`. Name it among RunLog's `sources`; its
    own position in the list of callbacks does not matter. Every rank may run it:
    no call is collective, and RunLog writes the chief's account. It reads its variable once per epoch.

    Example:
        >>> import tempfile
        >>> from tflbt import LargeBatchModel
        >>> from tflbt.callbacks.run_log import RunLog
        >>> inputs = tf.keras.Input([2])
        >>> model = LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
        >>> model.compile("sgd", "mse")
        >>> account = TimeAccount()
        >>> log = RunLog(tempfile.mkdtemp(), [account], verbose=0)
        >>> _ = model.fit(tf.ones([8, 2]), tf.ones([8, 1]), batch_size=4, verbose=0, callbacks=[account, log])
        >>> (row,) = log.run_directory.metrics.read()
        >>> row["seconds_computation"] > 0, row["seconds_validation"]
        (True, 0.0)

    Source: the parts of Table II and Fig. 4 of `abs-absa.txt`; input and validation are additional.
    """

    def __init__(self) -> None:
        super().__init__()
        self._validation = 0.0
        self._validation_began: float | None = None

    def set_model(self, model: tf.keras.Model) -> None:
        """Has the model's updates read the clock, before their function is made."""
        super().set_model(model)
        if self._of_updates() is not None:
            time_updates(model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Resets the account."""
        self._validation, self._validation_began = 0.0, None
        seconds = self._of_updates()
        if seconds is not None:
            seconds.assign(tf.zeros_like(seconds))

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Notes when the evaluation began."""
        self._validation_began = time.perf_counter()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Adds the duration of the evaluation."""
        if self._validation_began is not None:
            self._validation += time.perf_counter() - self._validation_began
        self._validation_began = None

    def epoch_columns(self) -> dict[str, float]:
        """The seconds since the epoch began, by column."""
        seconds = self._of_updates()
        if seconds is None:
            return {"seconds_validation": self._validation}
        spent = dict(zip(_OF_UPDATES, seconds.numpy().tolist()))
        return {**spent, "seconds_validation": self._validation}

    def _of_updates(self) -> tf.Variable | None:
        """The variable to which updates add, None in plain Keras; `compile` creates a new one."""
        return getattr(getattr(self.model, "update_state", None), "seconds", None)
