"""`StepDecay`: step-wise decay after certain epochs, the schedule of the papers' baselines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tflbt import checks, schedules
from tflbt.callbacks.rate_curve import RateCurve


@checks.arguments
class StepDecay(RateCurve):
    """Multiplies the learning rate by `factor` after each of the given epochs: `RateCurve` of `schedules.StepDecay`.

    The factor depends on the epoch alone: a second `fit` from epoch 0 begins at the full rate again, and
    `fit(initial_epoch=...)` at the rate of that epoch.

    Args:
        epochs: After how many epochs to decay, increasing, each more than 0: (150, 225) keeps the full rate for 150
            epochs.
        factor: In (0, 1), default 0.1.

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if the optimizer was built with a
            schedule.

    Source: Tables 2 to 5 of `two-phase.txt`, "step-wise (beta = 0.1)".

    Example:
        >>> decay = StepDecay([150, 225])
        >>> [round(decay.factor_after(epochs), 4) for epochs in (0, 149, 150, 225)]
        [1.0, 1.0, 0.1, 0.01]
    """

    def __init__(self, epochs: Sequence[float], factor: float = 0.1) -> None:
        self._curve = schedules.StepDecay(epochs, factor)
        super().__init__(self._curve, owner="step_decay")
        self.epochs = self._curve.epochs
        self.factor = factor

    def factor_after(self, epochs_done: int) -> float:
        """The factor of the first update after this many epochs."""
        return self._curve.at(math.nextafter(epochs_done, math.inf))

    def epoch_columns(self) -> dict[str, Any]:
        """What this callback adds to an epoch's row."""
        return {"decays": self._curve.decays(self._epoch + 1)}
