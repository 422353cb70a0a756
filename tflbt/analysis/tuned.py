"""A tuned recipe: the best trial of its search, and the results of its values with several seeds."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Tuned:
    """A recipe after its search, and the results of its best trial's values with several seeds."""

    name: str
    trials: int  # how many its search had
    best_trial: int
    values: Mapping[str, Any]  # the best trial's hyper-parameters by name
    tuned_objective: float  # the best trial's objective in the search
    objective: str
    direction: str  # "max" or "min"
    results: Sequence[float]  # one final value of the objective per seed; NaN if that run diverged

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
