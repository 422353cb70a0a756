"""`Warmup`: the learning rate grows to its full value over the first epochs, update by update."""

from __future__ import annotations

from tflbt import checks
from tflbt.callbacks.rate_curve import RateCurve
from tflbt.schedules.warmup import WARMUPS


@checks.arguments
class Warmup(RateCurve):
    r"""Raises the learning rate with every update, from `initial_factor` times its full value to that value.

    The update that brings training to e epochs (a fraction of one for each update) uses

    $$\text{factor} = s + (1 - s) \min(1, e / W), \quad s = \text{initial\_factor}, \; W = \text{epochs}$$

    times the rate that the optimizer was compiled with, so the last update of the warm-up already uses the full rate.
    With `shape="cosine"` the factor follows half a cosine wave (`tflbt.schedules.CosineWarmup`). As it counts epochs,
    it stays right when the batch size changes; it composes with every schedule of tflbt. A warm-up that counts updates
    is `RateCurve(LinearWarmup(500), unit="updates", owner="warmup")`.

    Args:
        epochs: Length of the warm-up in epochs (fractions allowed), more than 0.
        initial_factor: Where the factor begins, in [0, 1], default 0; Goyal et al. begin at the small batch's rate, so
            at 1 / (the factor by which the rate was scaled up).
        shape: "linear" (default) or "cosine".

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if the optimizer was built with a
            schedule or the number of steps of an epoch is not known.

    Source: Goyal et al. 2017, section 2.2; section 4 of `two-phase.txt` (the first 10 epochs); cosine: Figure 29 of
      `limit-of-the-batch-size.txt`.

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

    def __init__(self, epochs: float, initial_factor: float = 0.0, shape: str = "linear") -> None:
        checks.one_of("shape", shape, WARMUPS)
        super().__init__(WARMUPS[shape](epochs, initial_factor), owner="warmup")
        self.epochs = epochs
        self.initial_factor = initial_factor
        self.shape = shape

    def factor(self, epochs_done: float) -> float:
        """The factor of the update that brings training to this many epochs."""
        return self.curves[0].at(epochs_done)
