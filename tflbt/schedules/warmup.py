"""Warm-ups: curves from a small factor up to 1 over the first epochs, linear or cosine."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.schedules.curve import Curve, from_lowest, share_done


@dataclasses.dataclass(frozen=True)
class _Warmup(Curve):
    """The arguments of all warm-ups."""

    epochs: float
    initial_factor: float = 0.0

    def __post_init__(self) -> None:
        checks.number("epochs", self.epochs, more_than=0, hint=" (leave the warm-up out for none)")
        checks.number("initial_factor", self.initial_factor, at_least=0, at_most=1)


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
@dataclasses.dataclass(frozen=True)
class LinearWarmup(_Warmup):
    r"""Grows in a straight line from `initial_factor` to 1.

    $$\text{factor}(e) = s + (1 - s) \min(1, e / W), \quad s = \text{initial\_factor}, \; W = \text{epochs}$$

    Args:
        epochs: W, the warm-up's length in epochs (fractions allowed), more than 0.
        initial_factor: s, where to begin, in [0, 1], default 0; Goyal et al. begin at the small batch's rate, so at
            1 / (the factor by which the rate was scaled up).

    Raises:
        ValueError: If an argument is out of its range.

    Source: Goyal et al. 2017, section 2.2; "regular learning rate warmup" in section 6.5 of
      `limit-of-the-batch-size.txt`; section 4 of `two-phase.txt` (10 epochs).

    Example:
        >>> [LinearWarmup(4).at(epochs) for epochs in (0, 1, 2, 4, 9)]
        [0.0, 0.25, 0.5, 1.0, 1.0]
    """

    def _at(self, epochs: Any, xp: Any) -> Any:
        return from_lowest(self.initial_factor, share_done(epochs, 0.0, self.epochs, xp))


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
@dataclasses.dataclass(frozen=True)
class CosineWarmup(_Warmup):
    r"""Grows along half a cosine wave from `initial_factor` to 1: slowly at both ends.

    $$\text{factor}(e) = s + (1 - s) \frac{1 - \cos(\pi \min(1, e / W))}{2}$$

    Args:
        epochs: W, the warm-up's length in epochs (fractions allowed), more than 0.
        initial_factor: s, where to begin, in [0, 1], default 0.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Figure 29 of `limit-of-the-batch-size.txt`.

    Example:
        >>> [round(CosineWarmup(4).at(epochs), 3) for epochs in (0, 1, 2, 4, 9)]
        [0.0, 0.146, 0.5, 1.0, 1.0]
    """

    def _at(self, epochs: Any, xp: Any) -> Any:
        share = share_done(epochs, 0.0, self.epochs, xp)
        return from_lowest(self.initial_factor, (1 - xp.cos(np.pi * share)) / 2)


WARMUPS = {"linear": LinearWarmup, "cosine": CosineWarmup}
