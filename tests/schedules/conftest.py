"""The contract table of curves, each with its factor written a second time, plainly, one epoch at a time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tflbt import schedules


@dataclasses.dataclass(frozen=True)
class Case:
    """One curve with some arguments, and how to compute it by hand.

    Args:
        curve: Name in `tflbt.schedules`.
        arguments: Constructor's arguments.
        oracle: `oracle(epochs_done, **arguments) -> factor`.
        direction: 1 for a curve that only rises, -1 for one that only falls, 0 for others.
        smooth: Whether it has no jump anywhere.
        lowest: The least value that it takes.
        ends_at: Value after its end.
    """

    curve: str
    arguments: dict[str, Any]
    oracle: Callable[..., float]
    direction: int
    smooth: bool
    lowest: float
    ends_at: float | None

    def make(self, **more: Any) -> Any:
        """The curve."""
        return getattr(schedules, self.curve)(**{**self.arguments, **more})

    @property
    def starts_at(self) -> float:
        """Value at epoch 0."""
        return self.arguments.get("initial_factor", 0.0) if "Warmup" in self.curve else 1.0

    def __str__(self) -> str:
        """A name for the test's report."""
        told = ",".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.curve}({told})"


def linear_warmup(e: float, epochs: float, initial_factor: float = 0.0) -> float:
    """A straight line through (0, initial_factor) and (epochs, 1)."""
    return float(np.interp(e, [0, epochs], [initial_factor, 1]))


def cosine_warmup(e: float, epochs: float, initial_factor: float = 0.0) -> float:
    """The square of a quarter of a sine wave is half a cosine wave."""
    if e >= epochs:
        return 1.0
    return initial_factor + (1 - initial_factor) * math.sin(math.pi * e / epochs / 2) ** 2


def polynomial(
    e: float, epochs: float, power: float = 2.0, end_factor: float = 0.0, begin: float = 0.0
) -> float:
    """As Keras writes it: (start - end) (1 - step / steps)^power + end."""
    step, steps = min(max(e - begin, 0.0), epochs - begin), epochs - begin
    return (1 - end_factor) * (1 - step / steps) ** power + end_factor


def cosine(
    e: float, epochs: float, end_factor: float = 0.0, begin: float = 0.0, grain: str = "update"
) -> float:
    """The square of a quarter of a cosine wave is half a cosine wave above its lowest point."""
    if grain == "epoch":  # of all whole epochs, the last one that is over before this update
        e = max(done for done in range(1000) if done == 0 or done < e)
    if e <= begin:
        return 1.0
    if e >= epochs:
        return end_factor
    angle = math.pi / 2 * (e - begin) / (epochs - begin)
    return end_factor + (1 - end_factor) * math.cos(angle) ** 2


def cyclical(
    e: float,
    length: float,
    lowest_factor: float = 0.1,
    shape: str = "triangular",
    begin: float = 0.0,
) -> float:
    """Straight lines, or waves, between the peaks and valleys of twenty cycles."""
    if e <= begin:
        return 1.0
    if shape == "cosine":
        middle, swing = (1 + lowest_factor) / 2, (1 - lowest_factor) / 2
        return middle + swing * math.cos(2 * math.pi * (e - begin) / length)
    turns = begin + length / 2 * np.arange(41)
    return float(np.interp(e, turns, [1.0, lowest_factor] * 20 + [1.0]))


def step_decay(e: float, epochs: Any, factor: float = 0.1) -> float:
    """A factor for each epoch of the list that is behind."""
    return factor ** len([epoch for epoch in epochs if epoch < e])


def _row(
    curve: str,
    arguments: dict[str, Any],
    oracle: Callable[..., float],
    direction: int,
    ends_at: float | None = None,
    lowest: float | None = None,
    smooth: bool = True,
) -> Case:
    low = lowest if lowest is not None else (ends_at if direction < 0 else 0.0)
    return Case(curve, arguments, oracle, direction, smooth, low, ends_at)


CASES = [
    _row("LinearWarmup", {"epochs": 4}, linear_warmup, 1, 1.0),
    _row("LinearWarmup", {"epochs": 2.5, "initial_factor": 0.25}, linear_warmup, 1, 1.0),
    _row("LinearWarmup", {"epochs": 0.5, "initial_factor": 1.0}, linear_warmup, 1, 1.0),
    _row("CosineWarmup", {"epochs": 4}, cosine_warmup, 1, 1.0),
    _row("CosineWarmup", {"epochs": 3, "initial_factor": 0.1}, cosine_warmup, 1, 1.0),
    _row("PolynomialDecay", {"epochs": 10}, polynomial, -1, 0.0),
    _row("PolynomialDecay", {"epochs": 10, "power": 1}, polynomial, -1, 0.0),
    _row("PolynomialDecay", {"epochs": 8, "power": 0.5, "begin": 2.5}, polynomial, -1, 0.0),
    _row(
        "PolynomialDecay",
        {"epochs": 9, "power": 3.5, "end_factor": 0.01, "begin": 4},
        polynomial, -1, 0.01,
    ),
    _row("CosineDecay", {"epochs": 12}, cosine, -1, 0.0),
    _row("CosineDecay", {"epochs": 12, "begin": 4, "end_factor": 0.1}, cosine, -1, 0.1),
    _row("CosineDecay", {"epochs": 8, "grain": "epoch"}, cosine, -1, 0.0, smooth=False),
    _row(
        "CosineDecay", {"epochs": 8, "begin": 2.5, "grain": "epoch"}, cosine, -1, 0.0, smooth=False
    ),
    _row("Cyclical", {"length": 4}, cyclical, 0, lowest=0.1),
    _row(
        "Cyclical",
        {"length": 3, "lowest_factor": 0.0, "shape": "cosine", "begin": 4},
        cyclical, 0, lowest=0.0,
    ),
    _row(
        "Cyclical", {"length": 2.5, "lowest_factor": 0.5, "begin": 1.25}, cyclical, 0, lowest=0.5
    ),
    _row("StepDecay", {"epochs": (4, 8, 9)}, step_decay, -1, 0.1**3, smooth=False),
    _row("StepDecay", {"epochs": (2.5,), "factor": 0.5}, step_decay, -1, 0.5, smooth=False),
]  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives a test that takes `case` every row of the table."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=str)


@pytest.fixture
def cases() -> list[Case]:
    """All rows of the table."""
    return CASES
