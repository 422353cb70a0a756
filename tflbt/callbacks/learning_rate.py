"""The base of callbacks that set the learning rate: each owns one factor of it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt.callbacks.states.within_epoch import goes_on_inside
from tflbt.control.learning_rate import ComposedRate
from tflbt.training.keras_internals import TensorLogs, learning_rate_argument, plain_optimizer

LearningRateSchedule = tf.keras.optimizers.schedules.LearningRateSchedule


def current_rate(model: tf.keras.Model) -> Any:
    """The learning rate now, as a variable, a tensor or a number; None if the optimizer has none."""
    optimizer = plain_optimizer(model.optimizer)
    rate = getattr(optimizer, "learning_rate", None)
    # A legacy optimizer returns its schedule, others the value of theirs.
    return rate(optimizer.iterations) if isinstance(rate, LearningRateSchedule) else rate


def learning_rate(model: tf.keras.Model) -> float:
    """The model's learning rate now."""
    return float(tf.keras.backend.get_value(current_rate(model)))


class LearningRateFactor(TensorLogs, tf.keras.callbacks.Callback):
    """A callback that multiplies the learning rate by a factor of its own, named by `owner`, one of each per optimizer.

    The rate is one base times the factors of all such callbacks (`tflbt.control.ComposedRate`), so a warm-up and a
    decay compose, and a rate that another part of the program assigns becomes the new base.

    A subclass may define what to do where a `fit` starts over (it begins at epoch 0, or is the first one of this
    callback), where a `fit` goes on, and with the state of a checkpoint.
    """

    owner = ""

    def __init__(self) -> None:
        super().__init__()
        self._restored: dict[str, Any] | None = None
        self._has_state = False  # from an earlier epoch or a checkpoint
        self._fit_begins = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Takes up a restored checkpoint's state, if any; raises ValueError for an optimizer with a schedule."""
        self._refuse_schedule()
        rate = self._rate()
        restored, self._restored = self._restored, None
        if restored is not None:
            rate.base, rate.factors[self.owner] = restored["base"], restored["factor"]
            rate.assigned = None
            self._take_up(restored)
            self._has_state = True
        self._fit_begins = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """In the first epoch of a `fit`, starts over or goes on."""
        if self._fit_begins:
            first = epoch == 0 and not goes_on_inside(self.model)
            starts_over = first or not self._has_state
            self._fit_begins, self._has_state = False, True
            (self._start_over if starts_over else self._go_on)()

    def _take_up(self, state: dict[str, Any]) -> None:
        """Takes the subclass's part of a checkpoint's state."""

    def _start_over(self) -> None:
        """Prepares a `fit` that begins at epoch 0, or is the first of this callback."""

    def _go_on(self) -> None:
        """Prepares a `fit` that goes on where an earlier one, or a checkpoint, ended."""

    def _refuse_schedule(self) -> None:
        """Raises if the optimizer's rate cannot be assigned."""
        optimizer = plain_optimizer(self.model.optimizer)
        rate = learning_rate_argument(optimizer)
        if isinstance(rate, LearningRateSchedule):
            raise ValueError(
                f"{type(self).__name__} sets the learning rate, but {type(optimizer).__name__} was built with "
                f"learning_rate={type(rate).__name__}(...), which cannot be assigned. Give the optimizer a float; a "
                "warm-up or a decay beside this one goes into tflbt.callbacks.RateCurve, which composes with it."
            )

    def _rate(self) -> ComposedRate:
        """The optimizer's rate, shared by all callbacks that set it."""
        optimizer = plain_optimizer(self.model.optimizer)
        if not hasattr(optimizer, "_tflbt_rate"):
            optimizer._tflbt_rate = ComposedRate(learning_rate(self.model))
        return optimizer._tflbt_rate

    def _observed_rate(self) -> ComposedRate:
        """The same, after taking in a rate that somebody else may have assigned."""
        rate = self._rate()
        rate.observe(learning_rate(self.model))
        return rate

    def set_factor(self, factor: float) -> None:
        """Sets this callback's factor and assigns the learning rate that results."""
        rate = self._observed_rate()
        plain_optimizer(self.model.optimizer).learning_rate = rate.set(self.owner, factor)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of this callback, as JSON values."""
        rate = self._observed_rate()
        return {"base": rate.base, "factor": rate.factors.get(self.owner, 1.0)}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up a checkpoint's `state()` when the next `fit` begins."""
        self._restored = dict(state)
