"""`CurvatureMonitor`: records a top Hessian eigenvalue every few epochs, whatever the schedule."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.callbacks.curvature_probe import CurvatureProbe


class CurvatureMonitor(tf.keras.callbacks.Callback):
    """Measures the output layer's eigenvalue at the ends of epochs and logs it as `eigenvalue`; it changes nothing.

    Every rank must run it; it communicates at the ends of the epochs in which it measures.

    Args:
        curvature_data: (x, y[, sample_weight]), the same arrays on every rank, or a function without arguments that
            returns them, called at the start of `fit`.
        every: Epochs between measurements, at least 1, default 1.
        **options: Options of `tflbt.curvature.top_eigenvalue`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> x, y = tf.random.stateless_normal([32, 4], [0, 1]), tf.zeros([32], tf.int64)
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(4,))])
        >>> model.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[CurvatureMonitor((x, y))])
        >>> len(history.history["eigenvalue"])
        2
    """

    def __init__(self, curvature_data: Any, every: int = 1, **options: Any) -> None:
        super().__init__()
        checks.whole("every", every, at_least=1)
        self.every = every
        self.curvature = CurvatureProbe(curvature_data, **options)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Gets the data."""
        self.curvature.start_training(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures, if it is due."""
        self.curvature.start_epoch()
        if (epoch + 1) % self.every == 0:
            eigenvalue = self.curvature.measure(self.model)
            if logs is not None:
                logs["eigenvalue"] = eigenvalue

    def epoch_columns(self) -> dict[str, Any]:
        """What this callback adds to an epoch's row."""
        return self.curvature.epoch_columns()
