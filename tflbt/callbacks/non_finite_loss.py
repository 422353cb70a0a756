"""`NonFiniteLoss`: ends a run whose loss is NaN or infinite, at once and with an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.callbacks.learning_rate import learning_rate
from tflbt.training.keras_internals import TensorLogs

# On a GPU, where reading the loss makes the host wait for the update. Counted, so that all ranks read the same ones.
UPDATES_BETWEEN_LOOKS = 16


class NonFiniteLoss(TensorLogs, tf.keras.callbacks.Callback):
    """Raises FloatingPointError after the first update whose training loss is NaN or infinite.

    Unlike with Keras's TerminateOnNaN, a script that trained nothing does not end in success. The loss of
    LargeBatchModel is the same on all ranks, so all of them raise. A loss on a GPU is read only after every 16th update
    and the last one of the epoch, because the host would otherwise wait for each update; it stays NaN until then, as it
    is the mean of the epoch so far. No validation and no checkpoint of the epoch comes before that.

    Raises:
        FloatingPointError: In `fit`, as described.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(1,))])
        >>> model.compile(tf.keras.optimizers.SGD(1e30), "mse")
        >>> x, y = tf.ones([8, 1]) * 1e9, tf.ones([8, 1])
        >>> model.fit(x, y, batch_size=4, epochs=5, verbose=0, callbacks=[NonFiniteLoss()])
        Traceback (most recent call last):
        ...
        FloatingPointError: The loss is ... in epoch 1 (learning rate 1e+30). ...
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0
        self._updates = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch, self._updates = epoch, 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the epoch's mean loss so far, if that takes no waiting or is due."""
        loss = (logs or {}).get("loss")
        self._updates += 1
        last = batch + 1 == self.params.get("steps")
        waits = "GPU" in getattr(loss, "device", "")
        if last or not waits or self._updates % UPDATES_BETWEEN_LOOKS == 0:
            self._check(loss)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the epoch's loss, as the last update is not recognised where the number of steps is not known."""
        self._check((logs or {}).get("loss"))

    def _check(self, loss: Any) -> None:
        """Raises if there is a loss that is not finite."""
        loss = 0.0 if loss is None else checks.single("loss", loss)
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} in epoch {self._epoch + 1} (learning rate {learning_rate(self.model):g}). Lower "
                "the learning rate, lengthen the warm-up, or clip gradients; the last checkpoint is from before."
            )
