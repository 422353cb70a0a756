"""A tuned recipe: the best trial of its search, and the results of its values with several seeds."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Tuned:
    """A recipe after its search, and the results of its best trial's values with several seeds.

    Args:
        name: The recipe's name.
        trials: The number of trials of its search.
        best_trial: The number of the best trial.
        values: The best trial's hyper-parameters by name.
        tuned_objective: The best trial's objective in the search.
        objective: The objective's name.
        direction: "max" or "min".
        results: One final value of the objective per seed; NaN if that run diverged.

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
        """The number of runs that diverged."""
        return len(self.results) - len(self.finite)

    @property
    def mean(self) -> float:
        """The mean of the runs that did not diverge; NaN if there is none."""
        return statistics.fmean(self.finite) if self.finite else math.nan

    @property
    def deviation(self) -> float:
        """The sample standard deviation of the runs that did not diverge; NaN if there are fewer than two."""
        return statistics.stdev(self.finite) if len(self.finite) > 1 else math.nan
