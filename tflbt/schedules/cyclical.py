"""The cyclical learning rate: down to a lowest value and up again, cycle after cycle."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.schedules.curve import Curve, from_lowest


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
@dataclasses.dataclass(frozen=True)
class Cyclical(Curve):
    r"""Swings between 1 and `lowest_factor`, beginning with 1 at `begin`.

    $$\text{factor}(e) = f + (1 - f) \, s(c), \quad c = \frac{e - b}{L} \bmod 1, \quad
    s = |1 - 2c| \text{ or } \frac{1 + \cos(2 \pi c)}{2}$$

    Smith's policy begins at the lowest rate; this one begins at the peak, so that it can follow a warm-up without a
    jump. `LinearWarmup(L / 2, f)` with `Cyclical(L, f, begin=L / 2)` is his triangular policy.

    Args:
        length: L, the epochs of a cycle, down and up (twice Smith's step size), more than 0. Tune it, as the paper
            found that the accuracy depends on it.
        lowest_factor: f, in [0, 1], default 0.1.
        shape: "triangular" (default) or "cosine", which turns smoothly.
        begin: b, where the first cycle begins, at least 0, default 0; the factor is 1 before.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Smith 2017, as used in section 6.5 of `limit-of-the-batch-size.txt`.

    Example:
        >>> cycles = Cyclical(4, lowest_factor=0.5, begin=2)
        >>> [cycles.at(epochs) for epochs in (1, 2, 3, 4, 5, 6, 7)]
        [1.0, 1.0, 0.75, 0.5, 0.75, 1.0, 0.75]
    """

    length: float
    lowest_factor: float = 0.1
    shape: str = "triangular"
    begin: float = 0.0

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.number("length", self.length, more_than=0)
        checks.number("lowest_factor", self.lowest_factor, at_least=0, at_most=1)
        checks.one_of("shape", self.shape, ("triangular", "cosine"))
        checks.number("begin", self.begin, at_least=0)

    def _at(self, epochs: Any, xp: Any) -> Any:
        cycles = xp.maximum(0.0, epochs - self.begin) / self.length
        place = cycles - xp.floor(cycles)
        if self.shape == "triangular":
            return from_lowest(self.lowest_factor, xp.abs(1 - 2 * place))
        return from_lowest(self.lowest_factor, (1 + xp.cos(2 * np.pi * place)) / 2)
