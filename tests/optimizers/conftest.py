"""The contract table of optimizers; LARS, LAMB and what `LayerWise` wraps a second time, in NumPy and float64."""

from __future__ import annotations

import dataclasses
import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
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

    def rate_of(self, config: dict[str, Any]) -> Any:
        """The learning rate in the optimizer's config."""
        return config["learning_rate"]

    @property
    def kind(self) -> tuple[Any, ...]:
        """What decides which variables the optimizer keeps; the other arguments are numbers of its formula."""
        return self.optimizer, self.arguments.get("momentum"), self.arguments.get("method")

    def __str__(self) -> str:
        """A name for the test's report."""
        told = ",".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.optimizer}({told})"


@dataclasses.dataclass(frozen=True)
class LayerWiseCase(Case):
    """`LayerWise` around an optimizer of Keras's.

    Args:
        inner: Its name in `tf.keras.optimizers`.
        inner_arguments: Its arguments but the learning rate.
    """

    inner: str = "SGD"
    inner_arguments: dict[str, Any] = dataclasses.field(default_factory=dict)

    def make(self, learning_rate: Any = None, **more: Any) -> Any:
        """The optimizer; a weight decay is the inner one's."""
        inner_arguments = dict(self.inner_arguments)
        if "weight_decay" in more and "weight_decay" in inner_arguments:
            inner_arguments["weight_decay"] = more["weight_decay"]
        more.pop("weight_decay", None)
        rate = self.learning_rate if learning_rate is None else learning_rate
        inner = getattr(tf.keras.optimizers, self.inner)(rate, **inner_arguments)
        return optimizers.LayerWise(inner, **{**self.arguments, **more})

    def rate_of(self, config: dict[str, Any]) -> Any:
        """The learning rate in the inner optimizer's config."""
        assert "learning_rate" not in config
        return config["inner"]["config"]["learning_rate"]

    @property
    def kind(self) -> tuple[Any, ...]:
        """That of the inner one too."""
        return *super().kind, self.inner, self.inner_arguments.get("momentum")

    def __str__(self) -> str:
        """A name for the test's report."""
        return f"{super().__str__()}[{self.inner}{self.inner_arguments or ''}]"


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


def numpy_ratio(
    w: np.ndarray, u: np.ndarray, bounds: tuple[float, float], bound_on: str = "ratio"
) -> float:
    """|w| / |u| with its zero rule and bounds."""
    weight_norm, update_norm = np.linalg.norm(w), np.linalg.norm(u)
    if bound_on == "weight_norm":
        weight_norm = np.clip(weight_norm, *bounds)
    ratio = weight_norm / update_norm if weight_norm > 0 and update_norm > 0 else 1.0
    return float(np.clip(ratio, *bounds)) if bound_on == "ratio" else float(ratio)


def numpy_lamb(
    names: Sequence[str],
    weights: Sequence[np.ndarray],
    gradients: Sequence[Sequence[np.ndarray]],
    rates: Sequence[float],
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-6,
    weight_decay: float = 0.0,
    ratio_bounds: tuple[float, float] = (0.0, np.inf),
    bound_on: str = "ratio",
    exclude_from_weight_decay: Sequence[str] = (),
    exclude_from_adaptation: Sequence[str] = (),
    bias_correction: bool = True,
) -> list[np.ndarray]:
    """LAMB as NUMERICS.md states it."""
    weights = [np.asarray(w, np.float64) for w in weights]
    m, v = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for t, (step, rate) in enumerate(zip(gradients, rates), start=1):
        first, second = (1 - beta_1**t, 1 - beta_2**t) if bias_correction else (1.0, 1.0)
        for i, name in enumerate(names):
            w, g = weights[i], np.asarray(step[i], np.float64)
            m[i] = beta_1 * m[i] + (1 - beta_1) * g
            v[i] = beta_2 * v[i] + (1 - beta_2) * g**2
            b = 0.0 if any(part in name for part in exclude_from_weight_decay) else weight_decay
            u = (m[i] / first) / (np.sqrt(v[i] / second) + epsilon) + b * w
            adapted = not any(part in name for part in exclude_from_adaptation)
            r = numpy_ratio(w, u, ratio_bounds, bound_on) if adapted else 1.0
            weights[i] = w - rate * r * u
    return weights


def sgd_move(state, g, t, rate, momentum=0.0, nesterov=False):
    """Keras's SGD: the rate is inside the buffer."""
    state["m"] = momentum * state.get("m", 0.0) - rate * g
    return momentum * state["m"] - rate * g if nesterov else state["m"]


def adagrad_move(state, g, t, rate):
    """Keras's Adagrad: the accumulator begins at 0.1."""
    state["a"] = state.get("a", 0.1) + g**2
    return -rate * g / np.sqrt(state["a"] + 1e-7)


def rmsprop_move(state, g, t, rate, rho=0.9):
    """Keras's RMSprop."""
    state["v"] = rho * state.get("v", 0.0) + (1 - rho) * g**2
    return -rate * g / np.sqrt(state["v"] + 1e-7)


def adam_move(state, g, t, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Keras's Adam: epsilon is inside of the bias correction."""
    state["m"] = beta_1 * state.get("m", 0.0) + (1 - beta_1) * g
    state["v"] = beta_2 * state.get("v", 0.0) + (1 - beta_2) * g**2
    scale = np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return -rate * scale * state["m"] / (np.sqrt(state["v"]) + epsilon)


def layer_wise(move: Callable[..., np.ndarray], **inner: Any) -> Callable[..., list[np.ndarray]]:
    """The oracle of `LayerWise` around an optimizer that makes these moves."""
    weight_decay = inner.pop("weight_decay", 0.0)

    def oracle(
        names, weights, gradients, rates, trust_coefficient=1.0, ratio_bounds=(0.0, np.inf), bound_on="ratio",
        exclude_from_adaptation=(), exclude_from_weight_decay=(),
    ):  # fmt: skip
        weights = [np.asarray(w, np.float64) for w in weights]
        states: list[dict] = [{} for _ in weights]
        for t, (step, rate) in enumerate(zip(gradients, rates), start=1):
            for i, name in enumerate(names):
                w, g = weights[i], np.asarray(step[i], np.float64)
                b = 0.0 if any(part in name for part in exclude_from_weight_decay) else weight_decay
                moved = move(states[i], g, t, rate, **inner) - rate * b * w
                scale = 1.0
                if not any(part in name for part in exclude_from_adaptation):
                    scale = trust_coefficient * numpy_ratio(w, moved / rate, ratio_bounds, bound_on)
                weights[i] = w + scale * moved
        return weights

    return oracle


def wrapped(
    inner: str, move: Callable[..., np.ndarray], arguments=None, rate=0.05, **inner_arguments
):
    """A row of the table for `LayerWise` around an optimizer of Keras's."""
    return LayerWiseCase(
        "LayerWise",
        arguments or {},
        layer_wise(move, **inner_arguments),
        rate,
        inner,
        inner_arguments,
    )


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

_LAMB = [
    {},
    {"weight_decay": 0.01, "bias_correction": False},
    {"weight_decay": 0.01, "ratio_bounds": (0.1, 0.5)},
    {"ratio_bounds": (0.5, 2.0), "bound_on": "weight_norm", "beta_1": 0.8, "beta_2": 0.99},
    {
        "weight_decay": 0.01,
        "exclude_from_weight_decay": ["bias", "gamma"],
        "exclude_from_adaptation": ["bias"],
    },
]

# One row for each way of working; a new optimizer adds its rows and its oracle.
CASES = [
    *(Case("LARS", {"trust_coefficient": 0.05, **arguments}, numpy_lars) for arguments in _LARS),
    Case(
        "LARS", {"ratio_bounds": (0.1, 0.5), "epsilon": 1e-3, "trust_coefficient": 0.5}, numpy_lars
    ),
    *(Case("LAMB", arguments, numpy_lamb, learning_rate=0.05) for arguments in _LAMB),
    wrapped("SGD", sgd_move),
    wrapped("SGD", sgd_move, {"ratio_bounds": (0.1, 2.0)}, momentum=0.9),
    wrapped(
        "SGD", sgd_move, {"trust_coefficient": 0.5}, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    wrapped("Adagrad", adagrad_move),
    wrapped("RMSprop", rmsprop_move, {"ratio_bounds": (0.05, 2.0), "bound_on": "weight_norm"}),
    wrapped("Adam", adam_move, {"ratio_bounds": (0.1, 0.5)}),
    wrapped(
        "AdamW",
        adam_move,
        {"exclude_from_adaptation": ["bias"], "exclude_from_weight_decay": ["bias"]},
        weight_decay=0.01,
    ),
    *(
        Case(*row)
        for row in runpy.run_path(str(Path(__file__).with_name("radius_oracles.py")))["ROWS"]
    ),
]

# Of each kind the last of the rows with the most arguments.
KINDS = list({c.kind: c for c in sorted(CASES, key=lambda case: len(case.arguments))}.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives a test that takes `case` all rows, that takes `kind` a row of each kind, and `row` all, daily those."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=str)
    if "row" in metafunc.fixturenames:
        daily = {id(kind) for kind in KINDS}
        rows = [
            pytest.param(case, marks=[] if id(case) in daily else [pytest.mark.slow])
            for case in CASES
        ]
        metafunc.parametrize("row", rows, ids=str)
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", KINDS, ids=str)


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
