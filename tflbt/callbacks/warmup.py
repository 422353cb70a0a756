"""Gradual warm-up: the learning rate grows to its full value over the first epochs, update by update."""

from __future__ import annotations

from typing import Any

from tflbt.callbacks.learning_rate import LearningRateFactor


class Warmup(LearningRateFactor):
    r"""Raises the learning rate linearly, every update, from `initial_factor` times to its full value.

    The update that brings training to e epochs (a fraction of one for each update) uses

    $$\text{factor} = s + (1 - s) \min(1, e / W), \quad s = \text{initial\_factor}, \; W = \text{epochs}$$

    of the rate that the optimizer was compiled with, so the last warm-up update already uses the full rate. It
    counts in epochs and stays right when the batch size changes, and composes with every schedule of tflbt.

    Args:
      epochs: length of the warm-up in epochs (fractions allowed), more than 0.
      initial_factor: where to begin, in [0, 1], default 0; Goyal et al. begin at the small batch's rate: 1 / the
        number of times the rate was scaled up.

    Raises:
      ValueError: if an argument is out of its range; at the start of `fit`, if the optimizer was built with a
        schedule or the number of steps of an epoch is not known.

    Source: Goyal et al. 2017, section 2.2; section 4 of `two-phase.txt` (the first 10 epochs).

    Example:
      >>> import tensorflow as tf
      >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
      >>> model.compile(tf.keras.optimizers.SGD(0.8), "mse")
      >>> rates = tf.keras.callbacks.LambdaCallback(
      ...     on_train_batch_end=lambda batch, logs: print(round(float(model.optimizer.learning_rate), 2)))
      >>> x, y = tf.ones([8, 2]), tf.ones([8, 1])
      >>> _ = model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[Warmup(2), rates])
      0.2
      0.4
      0.6
      0.8
      0.8
      0.8
    """

    owner = "warmup"

    def __init__(self, epochs: float, initial_factor: float = 0.0) -> None:
        super().__init__()
        if not epochs > 0:
            raise ValueError(f"epochs={epochs!r} must be more than 0 (leave Warmup out for none).")
        if not 0 <= initial_factor <= 1:
            raise ValueError(f"initial_factor={initial_factor!r} must be between 0 and 1.")
        self._supports_tf_logs = True
        self.epochs = epochs
        self.initial_factor = initial_factor
        self._epoch = 0
        self._finished = False

    def factor(self, epochs_done: float) -> float:
        """The factor of an update that brings training to this many epochs."""
        share = min(1.0, epochs_done / self.epochs)
        return self.initial_factor + (1 - self.initial_factor) * share

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks that the length of an epoch is known."""
        super().on_train_begin(logs)
        self._finished = False
        if not self.params.get("steps"):
            raise ValueError(
                "Warmup needs the number of steps of an epoch, which this data set does not tell: give fit "
                "steps_per_epoch, or apply tf.data.experimental.assert_cardinality to the data set."
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Assigns the rate of the update that begins with this step."""
        if self._finished:
            return
        steps = self.params["steps"]
        end = min(batch + int(self.model._steps_per_execution), steps) / steps
        factor = self.factor(self._epoch + end)
        self.set_factor(factor)
        self._finished = factor >= 1.0
