"""Ends a run whose loss is no longer a number, at once and with an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.callbacks.learning_rate import learning_rate


class NonFiniteLoss(tf.keras.callbacks.Callback):
    """Raises FloatingPointError after the first update whose training loss is NaN or infinite.

    Unlike Keras's TerminateOnNaN, a script that trained nothing does not end in success. The loss of
    LargeBatchModel is the same on all ranks, so all of them raise.

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
        self._supports_tf_logs = True
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the loss so far."""
        loss = float((logs or {}).get("loss", 0.0))
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} in epoch {self._epoch + 1} (learning rate {learning_rate(self.model):g}). Lower "
                "the learning rate, lengthen the warm-up, or clip gradients; the last checkpoint is from before."
            )
