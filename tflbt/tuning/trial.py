"""What a search hands out and gets back: a trial, and how it ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

# How a trial may end. Only the first two have an objective that counts.
COMPLETED = "completed"
STOPPED = "stopped"  # ended early, for it was hopeless
DIVERGED = "diverged"  # its loss was no number any more
FAILED = "failed"  # an error on one rank or more
STATUSES = (COMPLETED, STOPPED, DIVERGED, FAILED)


@dataclasses.dataclass(frozen=True)
class Trial:
    """One set of hyper-parameters to train with.

    Attributes:
        number: From 1; 0: the baseline, without values.
        values: hyper-parameters by name.
        epochs: Epochs after which to end, counted from the start of the training it goes on with; None: all.
        continues: Number of the trial whose training it goes on with (Hyperband), or None.
        attempts: How often it was begun before, by jobs that were killed.
        finished: For early stopping, the objective of every epoch of the trials completed so far.
    """

    number: int
    values: Mapping[str, Any]
    epochs: int | None = None
    continues: int | None = None
    attempts: int = 0
    finished: tuple[tuple[float, ...], ...] = ()

    @property
    def name(self) -> str:
        """The name of its folder.

        Example:
            >>> Trial(7, {}).name
            '0007'
        """
        return f"{self.number:04d}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        status: "completed", "stopped" (hopeless), "diverged" (a loss that is no number) or "failed" (an error).
        history: The objective of each of its epochs.
        seconds: Of its last attempt, the only one whose end is known.
        message: What went wrong, in a line; "" if nothing.
    """

    status: str
    history: tuple[float, ...] = ()
    seconds: float = 0.0
    message: str = ""

    def __post_init__(self) -> None:
        """Checks the status."""
        if self.status not in STATUSES:
            raise ValueError(f"status={self.status!r} must be one of {', '.join(STATUSES)}.")

    @property
    def counts(self) -> bool:
        """Whether it may win."""
        return self.status in (COMPLETED, STOPPED)
