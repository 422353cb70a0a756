"""`RateCurve`: any curve of `tflbt.schedules` as a callback, correct even if the batch size changes."""

from __future__ import annotations

import math
from typing import Any

from tflbt import checks
from tflbt.callbacks.learning_rate import LearningRateFactor
from tflbt.callbacks.states.within_epoch import goes_on_inside
from tflbt.schedules.curve import Curve
from tflbt.schedules.curve_schedule import as_curves
from tflbt.training.keras_internals import plain_optimizer, steps_per_execution


@checks.arguments
class RateCurve(LearningRateFactor):
    """Multiplies the learning rate that the optimizer was compiled with by one or more curves, at every update.

    Progress is counted in fractions of an epoch, so it stays right when `model.batch_size` changes, and composes with
    `TwoPhaseSchedule` and every other callback of tflbt that sets the rate. A second `fit` from epoch 0 restarts the
    curves; `fit(initial_epoch=...)` goes on. Works with any Keras optimizer whose rate is a float.

    Args:
        curves: One curve of `tflbt.schedules`, or several, which are multiplied.
        unit: What the curves' lengths count: "epochs" (default) or "updates" (of the optimizer, since epoch 0).
        owner: This callback's name among those that set the rate; two `RateCurve`s of one `fit` need different ones.

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if the optimizer was built with a
            schedule, or the number of steps of an epoch is not known and needed; in `fit`, if another callback has the
            same owner.

    Source: section 6.5 of `limit-of-the-batch-size.txt`.

    Example:
        >>> import tensorflow as tf
        >>> from tflbt.schedules import CosineDecay, LinearWarmup
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
        >>> model.compile(tf.keras.optimizers.SGD(0.8), "mse")
        >>> rates = tf.keras.callbacks.LambdaCallback(
        ...     on_train_batch_end=lambda batch, logs: print(round(float(model.optimizer.learning_rate), 2)))
        >>> x, y = tf.ones([8, 2]), tf.ones([8, 1])
        >>> curve = RateCurve([LinearWarmup(1), CosineDecay(3, begin=1)])
        >>> _ = model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[curve, rates])
        0.4
        0.8
        0.68
        0.4
        0.12
        0.0
    """

    def __init__(
        self, curves: Curve | list[Curve], unit: str = "epochs", owner: str = "curve"
    ) -> None:
        super().__init__()
        checks.one_of("unit", unit, ("epochs", "updates"))
        self.curves = as_curves(curves)
        self.unit = unit
        self.owner = owner
        self._by_epoch = unit == "epochs" and all(curve.by_epoch for curve in self.curves)
        self._epoch = 0
        self._batches_a_call = 1
        self._updates = 0  # of the optimizer, including the one that has begun
        self._first_update: int | None = None  # the optimizer's updates at epoch 0
        self._last: float | None = None  # the factor that this callback set last

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Raises ValueError if an epoch's length is needed and not known, or the optimizer has a schedule."""
        super().on_train_begin(logs)
        self._last = None
        if self.unit == "epochs" and not self._by_epoch and not self.params.get("steps"):
            raise ValueError(
                f"{type(self).__name__} needs the number of steps of an epoch, which this data set does not know: "
                "give fit steps_per_epoch, or apply tf.data.experimental.assert_cardinality to the data set."
            )

    def _take_up(self, state: dict[str, Any]) -> None:
        self._first_update = state.get("begun")

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Assigns the epoch's rate, if it has only one."""
        super().on_epoch_begin(epoch, logs)
        self._epoch = epoch
        self._batches_a_call = int(steps_per_execution(self.model))
        if self._by_epoch:
            self._set_progress(epoch + 1)
        elif self.unit == "updates":
            self._updates = int(plain_optimizer(self.model.optimizer).iterations)
            if epoch == 0 and not goes_on_inside(self.model):
                self._first_update = self._updates

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Assigns the rate of the update that begins with this step."""
        if self._by_epoch:
            return
        steps = self.params.get("steps") or math.inf
        end = min(batch + self._batches_a_call, steps)
        if self.unit == "epochs":
            self._set_progress(self._epoch + end / steps)
            return
        # A step is a sub-batch in a LargeBatchModel, and an update in plain Keras.
        self._updates += 1 if hasattr(self.model, "batch_plan") else int(end - batch)
        self._set_progress(self._updates - (self._first_update or 0))

    def _set_progress(self, progress: float) -> None:
        """Assigns the rate of the update that brings training this far, if it differs from the last."""
        factor = math.prod(curve.at(progress) for curve in self.curves)
        found = self._rate().factors.get(self.owner)
        if self._last is not None and found != self._last:
            raise ValueError(
                f"owner={self.owner!r} is the name of two callbacks that set the learning rate: give one RateCurve "
                "all curves, or the second one another owner."
            )
        if factor != found:
            self.set_factor(factor)
        self._last = factor

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of this callback, as JSON values."""
        return {**super().state(), "begun": self._first_update}
