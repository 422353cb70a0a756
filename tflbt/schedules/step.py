"""Step-wise decay: the rate is multiplied by a factor after each of some epochs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.schedules.curve import Curve


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
@dataclasses.dataclass(frozen=True)
class StepDecay(Curve):
    """Multiplies the rate by `factor` after each of the given epochs.

    Args:
        epochs: After how many epochs to decay, increasing, each more than 0: (150, 225) keeps the full rate for 150
            epochs, and the next update is the first at the lower rate.
        factor: In (0, 1), default 0.1.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Tables 2 to 5 of `two-phase.txt`, "step-wise (beta = 0.1)".

    Example:
        >>> decay = StepDecay((150, 225), 0.5)
        >>> [decay.at(epochs) for epochs in (150, 150.01, 225, 226)]
        [1.0, 0.5, 0.5, 0.25]
    """

    epochs: Sequence[float]
    factor: float = 0.1

    def __post_init__(self) -> None:
        """Checks the arguments; a list becomes a tuple."""
        checks.increasing("epochs", self.epochs, hint=", as (150, 225)")
        object.__setattr__(self, "epochs", tuple(self.epochs))
        checks.number("factor", self.factor, more_than=0, less_than=1, hint=", as 0.1")

    @property
    def by_epoch(self) -> bool:
        """True if all decays lie between two epochs."""
        return all(float(epoch).is_integer() for epoch in self.epochs)

    def decays(self, epochs: float) -> int:
        """The number of decays before the update that brings training to `epochs`."""
        return sum(epoch < epochs for epoch in self.epochs)

    def _at(self, epochs: Any, xp: Any) -> Any:
        product = xp.ones_like(epochs)
        for epoch in self.epochs:
            product = product * xp.where(epochs > epoch, self.factor, 1.0)
        return product
