"""The base of callbacks that have a say in the learning rate: each owns one factor of it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt.control.learning_rate import ComposedRate

LearningRateSchedule = tf.keras.optimizers.schedules.LearningRateSchedule


def plain_optimizer(model: tf.keras.Model) -> Any:
    """The optimizer itself, also under a LossScaleOptimizer."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def learning_rate(model: tf.keras.Model) -> float:
    """The model's learning rate now."""
    return float(tf.keras.backend.get_value(plain_optimizer(model).learning_rate))


class LearningRateFactor(tf.keras.callbacks.Callback):
    """A callback that multiplies the learning rate by a factor of its own.

    The rate is one base times the factors of all such callbacks (`tflbt.control.ComposedRate`), so a warm-up and
    a decay compose, and a rate that somebody assigns directly is respected as a new base.

    Attributes:
        owner: The factor's name; one callback of each owner per optimizer.
    """

    owner = ""

    def __init__(self) -> None:
        super().__init__()
        self._supports_tf_logs = False
        self._restored: dict[str, Any] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Takes up its place among the factors where a checkpoint was restored.

        Raises:
            ValueError: If the optimizer was built with a schedule, whose rate cannot be assigned.
        """
        self._refuse_schedule()
        rate = self._rate()
        restored, self._restored = self._restored, None
        if restored is not None:
            rate.base, rate.factors[self.owner] = restored["base"], restored["factor"]
            rate.assigned = None

    def _refuse_schedule(self) -> None:
        optimizer = plain_optimizer(self.model)
        rate = getattr(optimizer, "_learning_rate", None)
        if rate is None:
            rate = getattr(optimizer, "_hyper", {}).get("learning_rate")
        if isinstance(rate, LearningRateSchedule):
            raise ValueError(
                f"{type(self).__name__} sets the learning rate, but {type(optimizer).__name__} was built with "
                f"learning_rate={type(rate).__name__}(...), which cannot be assigned. Give the optimizer a float; a "
                "warm-up or a decay beside this one goes into tflbt.callbacks.RateCurve, which composes with it."
            )

    def _rate(self) -> ComposedRate:
        optimizer = plain_optimizer(self.model)
        if not hasattr(optimizer, "_tflbt_rate"):
            optimizer._tflbt_rate = ComposedRate(learning_rate(self.model))
        return optimizer._tflbt_rate

    def set_factor(self, factor: float) -> None:
        """Gives this callback's factor a value and assigns the learning rate that results."""
        rate = self._rate()
        rate.observe(learning_rate(self.model))
        plain_optimizer(self.model).learning_rate = rate.set(self.owner, factor)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of this callback, as JSON values."""
        rate = self._rate()
        rate.observe(learning_rate(self.model))
        return {"base": rate.base, "factor": rate.factors.get(self.owner, 1.0)}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up a checkpoint's `state()` when the next `fit` begins."""
        self._restored = dict(state)
