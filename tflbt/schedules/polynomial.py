"""Polynomial decay: from 1 to an end value, along any power."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.schedules.curve import Curve, check_span, from_lowest, share_done


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
@dataclasses.dataclass(frozen=True)
class PolynomialDecay(Curve):
    r"""Falls from 1 at `begin` to `end_factor` at `epochs`, and stays there.

    $$\text{factor}(e) = f + (1 - f) \left(1 - \frac{e - b}{E - b}\right)^p, \quad b \le e \le E$$

    Args:
        epochs: E, where the decay ends, counted from the start of training; more than `begin`. Usually the length of
            the whole training.
        power: p, more than 0, default 2 (the LARS recipes'); 1 is a straight line.
        end_factor: f, in [0, 1], default 0.
        begin: b, where the decay begins, at least 0, default 0; give the warm-up's length to begin after it.

    Raises:
        ValueError: If an argument is out of its range.

    Source: "poly learning rate decay", Figures 24 and 30 of `limit-of-the-batch-size.txt`; You et al. 2017.

    Example:
        >>> decay = PolynomialDecay(12, begin=2)
        >>> [decay.at(epochs) for epochs in (1, 2, 7, 12, 20)]
        [1.0, 1.0, 0.25, 0.0, 0.0]
    """

    epochs: float
    power: float = 2.0
    end_factor: float = 0.0
    begin: float = 0.0

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.number("power", self.power, more_than=0, hint="; 1 is a straight line")
        checks.number("end_factor", self.end_factor, at_least=0, at_most=1)
        check_span(self.begin, self.epochs)

    def _at(self, epochs: Any, xp: Any) -> Any:
        left = 1 - share_done(epochs, self.begin, self.epochs, xp)
        return from_lowest(self.end_factor, xp.power(left, self.power))
