"""Timing side by side: candidates take turns in one process, so that a noisy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def medians(candidates: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of each candidate over `rounds` rounds in which all take a turn.

    Args:
      candidates: functions by name, which return when the work is done.
      rounds: counted rounds, at least 1.
      warm_up: rounds beforehand that do not count (tracing, caches), default 1.

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


def verdict(what: str, figure: float, target: float, *, at_least: bool) -> str:
    """One line that holds a figure against its target."""
    met = figure >= target if at_least else figure <= target
    sign = "at least" if at_least else "at most"
    return f"{what:<66} {figure:8.3f}   {sign} {target:g}: {'met' if met else 'NOT MET'}"
