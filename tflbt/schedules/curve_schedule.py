"""`CurveSchedule`: curves as a Keras learning-rate schedule, for any Keras optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.schedules.curve import Curve


def as_curves(curves: Any) -> tuple[Curve, ...]:
    """Returns one curve, or several, as a tuple; raises ValueError for anything else."""
    found = tuple(curves) if isinstance(curves, Iterable) else (curves,)
    if not found or not all(isinstance(curve, Curve) for curve in found):
        raise ValueError(
            f"curves={curves!r} must be one or more curves of tflbt.schedules, as LinearWarmup(5)."
        )
    return found


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
class CurveSchedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate as a peak rate times one or more curves, computed from the optimizer's count of updates.

    Give it to any Keras optimizer as its learning rate; no callback is needed, and it is saved with the model (a
    program that loads it must import `tflbt.schedules` before). Update number t, from 1, uses learning_rate times the
    product of the curves at t / updates_per_epoch epochs. As it knows only the number of updates, the batch size must
    stay the same. If it changes during training, or another callback sets the rate, use `tflbt.callbacks.RateCurve`.

    Args:
        learning_rate: The peak rate, more than 0.
        curves: One curve of `tflbt.schedules`, or several, which are multiplied: a warm-up and a decay.
        updates_per_epoch: More than 0, usually ceil(samples / batch size). With 1 the curves' lengths count updates.
        name: The schedule's name.

    Raises:
        ValueError: If an argument is out of its range.

    Source: section 6.5 of `limit-of-the-batch-size.txt`.

    Example:
        >>> from tflbt.schedules import LinearWarmup, PolynomialDecay
        >>> curves = [LinearWarmup(1), PolynomialDecay(3, power=1, begin=1)]
        >>> schedule = CurveSchedule(0.8, curves, updates_per_epoch=2)
        >>> [round(float(schedule(updates_done)), 2) for updates_done in range(6)]
        [0.4, 0.8, 0.6, 0.4, 0.2, 0.0]
        >>> optimizer = tf.keras.optimizers.SGD(schedule)
    """

    def __init__(
        self,
        learning_rate: float,
        curves: Any,
        updates_per_epoch: float,
        name: str = "CurveSchedule",
    ) -> None:
        super().__init__()
        checks.number("learning_rate", learning_rate, more_than=0)
        checks.number("updates_per_epoch", updates_per_epoch, more_than=0)
        self.learning_rate = float(learning_rate)
        self.curves = as_curves(curves)
        self.updates_per_epoch = float(updates_per_epoch)
        self.name = name

    def __call__(self, step: Any) -> tf.Tensor:
        """The rate, in float32, of the update that follows `step` updates."""
        with tf.name_scope(self.name):
            # In float64, because float32 cannot count beyond 16,777,216 updates.
            epochs = (tf.cast(step, tf.float64) + 1) / self.updates_per_epoch
            rate = tf.constant(self.learning_rate, tf.float64)
            for curve in self.curves:
                rate *= curve.at(epochs)
            return tf.cast(rate, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        return {
            "learning_rate": self.learning_rate,
            "curves": [tf.keras.saving.serialize_keras_object(curve) for curve in self.curves],
            "updates_per_epoch": self.updates_per_epoch,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CurveSchedule:
        """Returns the schedule that `get_config` describes."""
        curves = [
            curve if isinstance(curve, Curve) else tf.keras.saving.deserialize_keras_object(curve)
            for curve in config["curves"]
        ]
        return cls(**{**config, "curves": curves})
