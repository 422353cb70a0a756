"""The base of learning-rate curves: a factor of the peak rate for every point of a training, in epochs."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks


@dataclasses.dataclass(frozen=True)
class Curve:
    """The base of all curves, which multiply the learning rate by a factor that depends on the epochs done.

    The update that *brings* training to e epochs uses `at(e)`, so with 100 updates per epoch the first one uses
    `at(0.01)` and the last one of the first epoch `at(1.0)`. Curves are multiplied: a warm-up with a decay that begins
    where the warm-up ends, or earlier, is a curve without a jump. Give them to `tflbt.schedules.CurveSchedule` (into
    the optimizer) or `tflbt.callbacks.RateCurve` (into `fit`).

    A curve of your own is a frozen dataclass of numbers, strings and tuples that computes `_at`; register it with
    `tf.keras.utils.register_keras_serializable` and an optimizer that holds it can be saved.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Halving(Curve):
        ...     every: float
        ...     def _at(self, epochs, xp):
        ...         return xp.power(0.5, epochs / self.every)
        >>> Halving(2).at(4.0)
        0.25
    """

    def at(self, epochs: Any) -> Any:
        """The factor of the update that brings training to `epochs`.

        Args:
            epochs: Epochs done, at least 0, fractions allowed: a number, a NumPy array, or a tensor, inside a
                `tf.function` too.

        Returns:
            The factor, of the same kind; a tensor has the dtype of `epochs`, or float32 if that is an integer.
        """
        if tf.is_tensor(epochs):
            dtype = epochs.dtype if epochs.dtype.is_floating else tf.float32
            # In float64, as for numbers: the last update of an epoch must bring training to exactly that epoch.
            return tf.cast(self._at(tf.cast(epochs, tf.float64), tf.experimental.numpy), dtype)
        if isinstance(epochs, np.ndarray):
            return self._at(epochs.astype(np.float64), np)
        return float(self._at(float(epochs), np))

    def _at(self, epochs: Any, xp: Any) -> Any:
        """The formula, in float64; `xp` is NumPy, or TensorFlow's twin of it where `epochs` is a tensor."""
        raise NotImplementedError(f"{type(self).__name__} has no formula.")

    @property
    def by_epoch(self) -> bool:
        """True if the factor is the same for all updates of an epoch."""
        return False

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        return {field.name: _json(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Curve:
        """Returns the curve that `get_config` describes."""
        return cls(**config)


def from_lowest(lowest: float, share: Any) -> Any:
    """The factor at this share of the way from `lowest` to 1; both ends are exact."""
    return lowest * (1 - share) + share


def share_done(epochs: Any, begin: float, end: float, xp: Any) -> Any:
    """The fraction of the way from `begin` to `end` that is done: 0 before and 1 after."""
    return xp.minimum(1.0, xp.maximum(0.0, (epochs - begin) / (end - begin)))


def epoch_begun(epochs: Any, xp: Any) -> Any:
    """The beginning of the epoch that contains the update that brings training to `epochs`."""
    return xp.maximum(0.0, xp.ceil(epochs) - 1)


def check_span(begin: float, epochs: float) -> None:
    """Raises unless a decay begins at 0 or later, and ends later than it begins."""
    checks.number("begin", begin, at_least=0)
    if not (checks.is_number(epochs) and begin < epochs < math.inf):
        raise ValueError(
            f"epochs={epochs!r} must be more than begin={begin!r}: it is where the decay ends, counted from the start "
            "of training."
        )


def _json(value: Any) -> Any:
    """The value without NumPy's numbers, which JSON cannot hold."""
    if isinstance(value, tuple):
        return [_json(part) for part in value]
    return float(value) if checks.is_number(value) else value
