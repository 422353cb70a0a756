"""A tuned recipe: the best of its search, and what that gave with several seeds."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Tuned:
    """A recipe after its search, and what its best trial's values gave with several seeds.

    Args:
        name: The recipe's name.
        trials: How many trials its search had.
        best_trial: The number of the best one.
        values: The best one's hyper-parameters by name.
        tuned_objective: The best one's objective in the search.
        objective: The objective's name.
        direction: ``"max"`` or ``"min"``.
        results: One final value of the objective a seed; nan if that run diverged.

    Example:
        >>> lars = Tuned("lars", 12, 3, {}, 0.97, "val_accuracy", "max", [0.96, 0.98, math.nan])
        >>> round(lars.mean, 4), round(lars.deviation, 4), lars.diverged
        (0.97, 0.0141, 1)
    """

    name: str
    trials: int
    best_trial: int
    values: Mapping[str, Any]
    tuned_objective: float
    objective: str
    direction: str
    results: Sequence[float]

    @property
    def finite(self) -> list[float]:
        """The results of the runs that did not diverge."""
        return [float(value) for value in self.results if math.isfinite(value)]

    @property
    def diverged(self) -> int:
        """How many runs diverged."""
        return len(self.results) - len(self.finite)

    @property
    def mean(self) -> float:
        """The mean of the runs that did not diverge; nan if there is none."""
        return statistics.fmean(self.finite) if self.finite else math.nan

    @property
    def deviation(self) -> float:
        """The sample standard deviation of the runs that did not diverge; nan if there are fewer than two."""
        return statistics.stdev(self.finite) if len(self.finite) > 1 else math.nan
