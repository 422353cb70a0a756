"""A trial, as a search hands it out, and its outcome."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tflbt import checks

# How a trial may end; only after the first two does its objective count.
COMPLETED = "completed"
STOPPED = "stopped"  # ended early because it was hopeless
DIVERGED = "diverged"  # its loss became NaN or infinite
FAILED = "failed"  # an error on at least one rank
STATUSES = (COMPLETED, STOPPED, DIVERGED, FAILED)
_NUMBER = (int, float)
# The fields of the journal's events besides their kind.
_EVENTS: dict[str, dict[str, Any]] = {
    "new": {"trial": int, "values": dict},
    "begin": {"trial": int, "epochs": _NUMBER},
    "end": {"trial": int, "status": str, "history": list, "seconds": _NUMBER, "message": str},
}


@checks.arguments
@dataclasses.dataclass(frozen=True)
class Trial:
    """One set of hyper-parameters to train with.

    Attributes:
        number: From 1; 0: the baseline, without values.
        values: Hyper-parameters by name.
        epochs: Epochs after which to end, counted from the start of the training that it continues; None: all.
        continues: Number of the trial whose training it continues (Hyperband), or None.
        attempts: How often it was begun before, by jobs that were killed.
        finished: For early stopping, the objective of every epoch of the trials completed so far.
    """

    number: int
    values: Mapping[str, Any]
    epochs: int | None = None
    continues: int | None = None
    attempts: int = 0
    finished: tuple[tuple[checks.Measured, ...], ...] = ()

    def __post_init__(self) -> None:
        """Checks the numbers."""
        checks.counts(self, "number", "epochs", "continues", "attempts")

    @property
    def name(self) -> str:
        """The name of its folder, such as "0007"."""
        return f"{self.number:04d}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ended, with the objective of each epoch and the seconds of its last attempt, whose end is known."""

    status: str
    history: tuple[float, ...] = ()
    seconds: float = 0.0
    message: str = ""  # what went wrong, in one line

    def __post_init__(self) -> None:
        """Checks the status."""
        checks.one_of("status", self.status, STATUSES)

    @property
    def counts(self) -> bool:
        """Whether it may win."""
        return self.status in (COMPLETED, STOPPED)


def best_epoch(history: Sequence[float], direction: str) -> int | None:
    """Returns the epoch, from 1, in which an objective was first the largest ("max") or smallest ("min"), or None."""
    sign = 1 if direction == "max" else -1
    finite = {epoch: sign * v for epoch, v in enumerate(history, start=1) if math.isfinite(v)}
    return max(finite, key=finite.__getitem__, default=None)


def is_event(event: Mapping[str, Any]) -> bool:
    """Says whether a dictionary of the journal has the fields of its kind of event, and numbers that a float holds."""
    kind = event["event"]
    fields = _EVENTS.get(kind) if isinstance(kind, str) else None
    if fields is None or not all(isinstance(event.get(name), fields[name]) for name in fields):
        return False
    try:
        for number in (event.get("epochs", 0), event.get("seconds", 0), *event.get("history", ())):
            math.isfinite(number)
    except (TypeError, OverflowError):
        return False
    return True
