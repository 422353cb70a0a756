"""The contract table of optimizers, and LARS written a second time, in NumPy and float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tflbt import optimizers

# What a network holds: a kernel, a bias that begins at zero, and a BatchNorm's gamma and beta.
SHAPES = {"dense/kernel": (4, 3), "dense/bias": (3,), "norm/gamma": (3,), "norm/beta": (3,)}


@dataclasses.dataclass(frozen=True)
class Case:
    """One optimizer with some arguments, and how to compute its steps by hand.

    Args:
      optimizer: Name in `tflbt.optimizers`.
      arguments: Constructor's arguments but the learning rate.
      oracle: `oracle(names, weights, gradients, rates, **arguments) -> weights`; gradients are a list a step.
      learning_rate: One that trains a quadratic.
    """

    optimizer: str
    arguments: dict[str, Any]
    oracle: Callable[..., list[np.ndarray]]
    learning_rate: float = 0.2

    def make(self, learning_rate: Any = None, **more: Any) -> Any:
        """The optimizer."""
        rate = self.learning_rate if learning_rate is None else learning_rate
        return getattr(optimizers, self.optimizer)(rate, **{**self.arguments, **more})

    def __str__(self) -> str:
        """A name for the test's report."""
        told = ",".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.optimizer}({told})"


def numpy_lars(
    names: Sequence[str],
    weights: Sequence[np.ndarray],
    gradients: Sequence[Sequence[np.ndarray]],
    rates: Sequence[float],
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    trust_coefficient: float = 0.001,
    epsilon: float = 0.0,
    ratio_bounds: tuple[float, float] = (0.0, np.inf),
    momentum_style: str = "lr_inside",
    exclude_from_weight_decay: Sequence[str] = (),
    exclude_from_adaptation: Sequence[str] = (),
    denominator: str = "separate",
) -> list[np.ndarray]:
    """LARS as NUMERICS.md's rules A ("lr_inside"), E ("lr_outside") and C's denominator state it."""
    weights = [np.asarray(w, np.float64) for w in weights]
    buffers = [np.zeros_like(w) for w in weights]
    for step, rate in zip(gradients, rates):
        for i, name in enumerate(names):
            w, g = weights[i], np.asarray(step[i], np.float64)
            b = 0.0 if any(part in name for part in exclude_from_weight_decay) else weight_decay
            decayed = g + b * w
            scale = 1.0
            if not any(part in name for part in exclude_from_adaptation):
                separate = np.linalg.norm(g) + b * np.linalg.norm(w)
                size = separate if denominator == "separate" else np.linalg.norm(decayed)
                zero = np.linalg.norm(w) == 0 or size + epsilon == 0
                ratio = 1.0 if zero else np.linalg.norm(w) / (size + epsilon)
                scale = trust_coefficient * np.clip(ratio, *ratio_bounds)
            if momentum_style == "lr_inside":
                buffers[i] = momentum * buffers[i] + rate * scale * decayed
                move = momentum * buffers[i] + rate * scale * decayed if nesterov else buffers[i]
            else:
                buffers[i] = momentum * buffers[i] + scale * decayed
                move = rate * (momentum * buffers[i] + scale * decayed if nesterov else buffers[i])
            weights[i] = w - move
    return weights


_LARS = [
    {},
    {"nesterov": True},
    {"weight_decay": 0.01},
    {"weight_decay": 0.01, "nesterov": True},
    {"weight_decay": 0.01, "denominator": "decayed_gradient"},
    {"weight_decay": 0.01, "denominator": "decayed_gradient", "momentum_style": "lr_outside"},
    {"weight_decay": 0.01, "momentum_style": "lr_outside"},
    {"nesterov": True, "momentum_style": "lr_outside"},
    {"momentum": 0.0, "weight_decay": 0.01},
    {
        "weight_decay": 0.01,
        "exclude_from_weight_decay": ["bias", "gamma", "beta"],
        "exclude_from_adaptation": ["bias"],
    },
]

# One row for each way of working; a new optimizer adds its rows and its oracle.
CASES = [
    *(Case("LARS", {"trust_coefficient": 0.05, **arguments}, numpy_lars) for arguments in _LARS),
    Case(
        "LARS", {"ratio_bounds": (0.1, 0.5), "epsilon": 1e-3, "trust_coefficient": 0.5}, numpy_lars
    ),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives a test that takes `case` every row of the table."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=str)


@pytest.fixture
def cases() -> list[Case]:
    """All rows of the table."""
    return CASES


@pytest.fixture
def lars_by_hand() -> Callable[..., list[np.ndarray]]:
    """LARS in NumPy."""
    return numpy_lars


@dataclasses.dataclass
class Network:
    """Variables of a small network and gradients for some steps, always the same."""

    variables: list[tf.Variable]
    gradients: list[list[np.ndarray]]

    @property
    def names(self) -> list[str]:
        """The variables' names."""
        return [variable.name for variable in self.variables]

    def values(self) -> list[np.ndarray]:
        """The weights now."""
        return [variable.numpy() for variable in self.variables]

    def step(self, optimizer: Any, number: int) -> None:
        """Applies the gradients of one step."""
        gradients = [
            tf.constant(g, v.dtype) for g, v in zip(self.gradients[number], self.variables)
        ]
        optimizer.apply_gradients(zip(gradients, self.variables))


@pytest.fixture
def network() -> Callable[..., Network]:
    """Makes the network anew."""

    def make(dtype: str = "float32", steps: int = 5, scale: float = 1.0) -> Network:
        random = np.random.default_rng(0)
        variables = []
        for name, shape in SHAPES.items():
            start = (
                random.normal(size=shape) if "kernel" in name else np.full(shape, "gamma" in name)
            )
            variables.append(tf.Variable(start * scale, name=name, dtype=dtype))
        gradients = [[random.normal(size=shape) for shape in SHAPES.values()] for _ in range(steps)]
        return Network(variables, gradients)

    return make
