"""Cosine decay: half a cosine wave from 1 to an end value, update by update or epoch by epoch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.schedules.curve import Curve, check_span, epoch_begun, from_lowest, share_done


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
@dataclasses.dataclass(frozen=True)
class CosineDecay(Curve):
    r"""Falls from 1 at `begin` to `end_factor` at `epochs` along half a cosine wave, and stays there.

    $$\text{factor}(e) = f + (1 - f) \frac{1 + \cos(\pi \, t)}{2}, \quad t = \frac{e - b}{E - b} \text{ in } [0, 1]$$

    The paper's names (it shows only drawings of them, no formulas):

    - *regular*: `CosineDecay(E)`, one wave over the whole training from epoch 0 on, which a warm-up multiplies;
    - *fine-grained*: `CosineDecay(E, begin=W)`, after a warm-up of W epochs, with a new rate for every update;
    - *coarse-grained*: `CosineDecay(E, begin=W, grain="epoch")`, the same, but each epoch keeps the rate of its
      beginning, so the last epoch is one step above `end_factor`.

    Args:
        epochs: E, where the decay ends, counted from the start of training; more than `begin`. Usually the length of
            the whole training.
        end_factor: f, in [0, 1], default 0.
        begin: b, where the decay begins, at least 0, default 0; give the warm-up's length to begin after it.
        grain: "update" (default) or "epoch".

    Raises:
        ValueError: If an argument is out of its range.

    Source: Figures 23 and 25 to 29 of `limit-of-the-batch-size.txt`; Loshchilov & Hutter 2016, without restarts
      (`Cyclical` goes down and up again).

    Example:
        >>> fine, coarse = CosineDecay(6, begin=2), CosineDecay(6, begin=2, grain="epoch")
        >>> [round(fine.at(epochs), 3) for epochs in (2, 2.5, 3, 4, 6)]
        [1.0, 0.962, 0.854, 0.5, 0.0]
        >>> [round(coarse.at(epochs), 3) for epochs in (2, 2.5, 3, 4, 6)]
        [1.0, 1.0, 1.0, 0.854, 0.146]
    """

    epochs: float
    end_factor: float = 0.0
    begin: float = 0.0
    grain: str = "update"

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.number("end_factor", self.end_factor, at_least=0, at_most=1)
        check_span(self.begin, self.epochs)
        checks.one_of("grain", self.grain, ("update", "epoch"))

    @property
    def by_epoch(self) -> bool:
        """True if the grain is the epoch."""
        return self.grain == "epoch"

    def _at(self, epochs: Any, xp: Any) -> Any:
        at = epoch_begun(epochs, xp) if self.by_epoch else epochs
        share = share_done(at, self.begin, self.epochs, xp)
        return from_lowest(self.end_factor, (1 + xp.cos(np.pi * share)) / 2)
