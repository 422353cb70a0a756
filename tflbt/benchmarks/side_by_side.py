"""Timing side by side: candidates take turns in one process, so that a noisy machine slows all of them alike."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def medians(
    candidates: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 1
) -> dict[str, float]:
    """Median seconds of each candidate over `rounds` rounds in which all take a turn.

    Args:
        candidates: Functions by name, which return when the work is done.
        rounds: Counted rounds, at least 1.
        warm_up: Rounds beforehand that do not count (tracing, caches), default 1.

    Returns:
        Seconds by name.

    Example:
        >>> sorted(medians({"a": lambda: None, "b": lambda: None}, rounds=3))
        ['a', 'b']
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warm_up + rounds):
        for name, run in candidates.items():
            begin = time.perf_counter()
            run()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


@dataclasses.dataclass(frozen=True)
class Target:
    """A figure beside the bound it should keep.

    Args:
        what: The figure in words.
        figure: As measured.
        bound: As wanted.
        at_least: Whether the bound is a floor; default a ceiling.

    Example:
        >>> print(Target("step / Keras's step", 0.5, 1.2))
        step / Keras's step                                     0.500   at most 1.2: met
    """

    what: str
    figure: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure keeps the bound."""
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound

    def __str__(self) -> str:
        """One line for the screen."""
        sign = "at least" if self.at_least else "at most"
        verdict = "met" if self.met else "MISSED"
        return f"{self.what:<52} {self.figure:8.3f}   {sign} {self.bound:g}: {verdict}"


def hold_against(*targets: Target) -> int:
    """Prints the targets and returns an exit status: 0 if all are met, else 1."""
    for target in targets:
        print(target)
    return int(not all(target.met for target in targets))
