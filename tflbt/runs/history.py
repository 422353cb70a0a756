"""What the rows of a run say: series by epoch, phase switch, decays and best epoch."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tflbt import checks
from tflbt.runs import directions
from tflbt.runs.metrics import is_logged_metric

_DROP = 0.8  # a learning rate at most this times the last epoch's has been decayed, not annealed
_FLAT = 0.05  # relative change below which two epochs have the same learning rate


@checks.arguments
@dataclasses.dataclass(frozen=True)
class History:
    """The epochs of a run, as `MetricsTable.read` returns them.

    Args:
        rows: One dictionary per epoch; any column may be missing or empty.
        distances: The rows of `distance.csv`, which `DistanceMonitor` writes; default: none.
        warmup: Epochs of warm-up, default 0.
        directions: The end, "max" or "min", at which columns are best whose names do not say it; default: none.

    Example:
        >>> history = History([{"epoch": 1, "loss": 0.5, "updates": 8}, {"epoch": 2, "loss": 0.4}])
        >>> history.epochs, history.series("loss"), history.series("val_loss")
        ([1, 2], [0.5, 0.4], [nan, nan])
        >>> history.has("val_loss"), history.last("updates"), history.best("loss", largest=False)
        (False, 8, (2, 0.4))
    """

    rows: Sequence[Mapping[str, Any]]
    distances: Sequence[Mapping[str, Any]] = ()
    warmup: float = 0.0
    directions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the warm-up."""
        checks.number("warmup", self.warmup, at_least=0, hint=": epochs")

    @functools.cached_property
    def epochs(self) -> list[int]:
        """Epoch numbers, counted from 1; the same list at each call, as of all properties."""
        return [int(row.get("epoch") or place) for place, row in enumerate(self.rows, start=1)]

    def series(self, column: str) -> list[float]:
        """Returns a column, which need not exist, as one float per epoch: NaN where there is no number."""
        return list(self._numbers(column))

    def _numbers(self, column: str) -> list[float]:
        """The same, the same list at each call: pages and figures ask for a column a hundred times."""
        if column not in self._columns:
            return [math.nan] * len(self.rows)
        if column not in self._found:
            values = (row.get(column) for row in self.rows)
            self._found[column] = [
                float(v) if isinstance(v, (int, float)) else math.nan for v in values
            ]
        return self._found[column]

    @functools.cached_property
    def _columns(self) -> dict[str, None]:
        """Those of any row, in their order: most that figures ask for are in none."""
        return dict.fromkeys(itertools.chain.from_iterable(self.rows))

    @functools.cached_property
    def _found(self) -> dict[str, list[float]]:
        return {}

    def has(self, column: str) -> bool:
        """Whether a column holds a finite number in any epoch."""
        return any(map(math.isfinite, self._numbers(column)))

    def last(self, column: str) -> Any:
        """Returns a column's last value that is not empty, or None."""
        values = (row.get(column) for row in reversed(self.rows))
        return next((value for value in values if value is not None), None)

    @functools.cached_property
    def metric(self) -> str | None:
        """The metric to show beside the loss: an accuracy if there is one."""
        names = [
            name.removeprefix("val_")
            for name in self._columns
            if is_logged_metric(name) and not name.endswith("loss")
        ]
        names = [name for name in dict.fromkeys(names) if self.has(name) or self.has(f"val_{name}")]
        accuracies = [name for name in names if is_accuracy(name)]
        return next(iter(accuracies or names), None)

    def direction(self, column: str) -> str | None:
        """Returns the end, "max" or "min", at which a column is best; None if that is unknown."""
        return directions.of_column(column, self.directions)

    def best(self, column: str, largest: bool = True) -> tuple[int, float] | None:
        """Returns the epoch and value at which a column was largest (or smallest), the first of equals, or None."""
        pairs = [p for p in zip(self.epochs, self.series(column)) if math.isfinite(p[1])]
        if not pairs:
            return None
        return (max if largest else min)(pairs, key=lambda pair: pair[1])

    @functools.cached_property
    def has_phases(self) -> bool:
        """True if a two-phase schedule ran."""
        return any(row.get("phase") for row in self.rows)

    @functools.cached_property
    def switch_epoch(self) -> int | None:
        """The epoch at whose end the convergence phase began; None if it has not."""
        pairs = zip(self.epochs, self.rows)
        return next((epoch for epoch, row in pairs if row.get("phase") == "convergence"), None)

    @functools.cached_property
    def decay_epochs(self) -> list[int]:
        """The epochs at whose end the learning rate was decayed.

        They are read from the column `decays`; if it counts nothing, from sudden drops of the learning rate between
        epochs at which it is constant.
        """
        return self._counted_decays() or self._drops()

    @functools.cached_property
    def growth_epochs(self) -> list[int]:
        """The epochs after which the batch was larger than before."""
        sizes = self.series("batch_size")
        return [self.epochs[i - 1] for i in range(1, len(sizes)) if sizes[i] > sizes[i - 1]]

    def _counted_decays(self) -> list[int]:
        """Returns the epochs after which the rate fell, by the column `decays`.

        A schedule may count at the end of the epoch that it judged, or at the start of the epoch that runs at the new
        rate; the learning rate shows which. A schedule that grows the batch instead of decaying the rate counts that
        too: it is not a decay.
        """
        rates, grown = self.series("learning_rate"), set(self.growth_epochs)
        epochs, before = [], 0
        for i, row in enumerate(self.rows):
            count = row.get("decays")
            if not isinstance(count, int):
                continue
            if count > before:
                fallen = i > 0 and rates[i] <= _DROP * rates[i - 1]
                if fallen or i == 0 or self.epochs[i - 1] not in grown:
                    epochs.append(self.epochs[i - 1 if fallen else i])
            before = count
        return epochs

    def _drops(self) -> list[int]:
        """Returns the epochs after which the learning rate drops to a new constant."""
        rates = self.series("learning_rate")
        return [
            self.epochs[i - 1]
            for i in range(1, len(rates))
            if 0 < rates[i] <= _DROP * rates[i - 1]
            and (i + 1 == len(rates) or _same(rates[i], rates[i + 1]))
            and (i == 1 or rates[i - 1] >= (1 - _FLAT) * rates[i - 2])
        ]


def _same(rate: float, other: float) -> bool:
    """Whether two learning rates are equal but for annealing."""
    return math.isclose(rate, other, rel_tol=_FLAT)


def is_accuracy(name: str) -> bool:
    """Whether a metric is a share of samples, shown in percent: `accuracy`, `val_acc`, `binary_acc_1`, ..."""
    return "accuracy" in name or re.sub(r"_\d+$", "", name).split("_")[-1] == "acc"
