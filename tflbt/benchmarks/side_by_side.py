"""Timing side by side: candidates take turns in one process, so that a noisy machine slows all of them alike."""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_STATM = Path("/proc/self/statm")


def parser_of(name: str, doc: str | None = None) -> argparse.ArgumentParser:
    """A parser for the options of a benchmark."""
    return argparse.ArgumentParser(prog=f"python -m tflbt.benchmarks {name}", description=doc)


def resident_mib() -> float:
    """Resident memory of this process in MiB; NaN where /proc does not say."""
    if not _STATM.exists():
        return float("nan")
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def take_core(rank: int) -> None:
    """Leaves this process the core of its rank's number, counted round; to be called before TensorFlow is used."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})


def lines_of(command: list[str]) -> list[str]:
    """The lines that a command prints."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=buffered())
    return done.stdout.splitlines()


def buffered() -> dict[str, str]:
    """The environment for a launcher whose lines are read.

    Unbuffered, a line and its end are two pieces, which launchers mark as of this rank or that each.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def medians(
    candidates: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 1
) -> dict[str, float]:
    """Median seconds of each candidate over rounds in which all take a turn; rounds of warm-up do not count.

    A candidate returns when its work is done.
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
