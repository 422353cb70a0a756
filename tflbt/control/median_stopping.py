"""When a trial of a search is hopeless: if its best is worse than half of the finished trials were on average."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from tflbt import checks


@checks.arguments
@dataclasses.dataclass(frozen=True)
class MedianStopping:
    """Vizier's median stopping rule: compares a trial's best objective with the median of finished trials' averages.

    After epoch e a trial is hopeless if its best objective of the epochs 1..e is strictly worse than the median, over
    the finished trials, of the mean of each trial's objectives in its epochs 1..e. As a best is compared with averages,
    the rule is lenient: the best trial so far is never stopped, nor is one that equals the median.

    Early epochs are a poor guide where the learning rate decays: a large rate often looks worse than a small one until
    its decay, and then wins. The rule cannot foresee this. Give such a search a `grace` beyond the first decay, or do
    without the rule. For the same reason a trial is not stopped during its warm-up (`warmup`).

    Args:
        direction: "max" or "min", whether a larger or a smaller objective is better.
        epochs: Epochs of a whole trial, at least 1. After the last one no trial is hopeless.
        grace: First epoch (1-based) after which a trial may be stopped, at least 1. None (default): a third of
            `epochs`, rounded up, or the epochs of the warm-up if these are more.
        trials: The number of finished trials with an objective that are needed to judge, at least 1 (default 5).
        warmup: The judged trial's epochs of warm-up, at least 0 (default 0); used only if `grace` is None.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Golovin et al., "Google Vizier: A Service for Black-Box Optimization" (2017), section 3.2.2. The paper has
      neither `grace` nor `trials`; Ray Tune's `MedianStoppingRule` has both (`grace_period`, `min_samples_required`),
      and averages from the end of the grace, while we and the paper average from the first epoch.

    Example:
        >>> rule = MedianStopping("max", epochs=6, trials=3)
        >>> finished = [[0.2, 0.4, 0.6], [0.4, 0.6, 0.8], [0.1, 0.1, 0.1]]
        >>> rule.grace_epochs, rule.hopeless([0.25], finished), rule.hopeless([0.2, 0.25], finished)
        (2, False, True)
    """

    direction: str
    epochs: int
    grace: int | None = None
    trials: int = 5
    warmup: float = 0.0

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.one_of("direction", self.direction, ("max", "min"))
        checks.whole("epochs", self.epochs, at_least=1)
        checks.whole("trials", self.trials, at_least=1)
        if self.grace is not None:
            checks.whole("grace", self.grace, at_least=1)
        checks.number("warmup", self.warmup, at_least=0, hint=": epochs")

    @property
    def grace_epochs(self) -> int:
        """The first epoch, counted from 1, after which a trial may be stopped."""
        if self.grace is not None:
            return self.grace
        return max(-(-self.epochs // 3), math.ceil(self.warmup))

    def hopeless(self, values: Sequence[float], finished: Sequence[Sequence[float]]) -> bool:
        """True if a trial with these objectives, one per epoch, should end, given those of all completed trials.

        A value that is not finite (nothing was measured, or the loss diverged) counts as missing. Averages use the
        values there are up to this epoch, also in a shorter history; a finished trial without any is not counted. A
        trial without a value of its own is worse than any trial with one.
        """
        epoch = len(values)
        if not self.grace_epochs <= epoch < self.epochs:
            return False
        histories = [self._gains(history[:epoch]) for history in finished]
        averages = [statistics.mean(gains) for gains in histories if gains]
        if len(averages) < self.trials:
            return False
        return max(self._gains(values), default=-math.inf) < statistics.median(averages)

    def _gains(self, values: Sequence[float]) -> list[float]:
        """The finite values, with their signs changed if smaller is better."""
        sign = 1.0 if self.direction == "max" else -1.0
        return [sign * float(value) for value in values if math.isfinite(value)]
