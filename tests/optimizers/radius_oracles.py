"""The optimizers of curvature radii a second time, in NumPy and float64; conftest.py reads ROWS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Arrays = Sequence[np.ndarray]
Radius = Callable[[np.ndarray, np.ndarray, float, dict], Any]


def steps(
    radius: Radius,
    names: Sequence[str],
    weights: Arrays,
    gradients: Sequence[Arrays],
    rates: Sequence[float],
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    ratio_bounds: tuple[float, float] = (0.0, np.inf),
    exclude_from_weight_decay: Sequence[str] = (),
    exclude_from_adaptation: Sequence[str] = (),
) -> list[np.ndarray]:
    """Momentum SGD whose rate is `radius(w, g, b, memory)`, bounded, times the learning rate."""
    results = []
    for i, name in enumerate(names):
        w = np.asarray(weights[i], np.float64)
        buffer, memory = np.zeros_like(w), {}
        b = 0.0 if any(part in name for part in exclude_from_weight_decay) else weight_decay
        for step, rate in zip(gradients, rates):
            g = np.asarray(step[i], np.float64)
            scale = 1.0
            if not any(part in name for part in exclude_from_adaptation):
                scale = np.clip(radius(w, g, b, memory), *ratio_bounds)
            buffer = momentum * buffer + rate * scale * (g + b * w)
            w = w - (momentum * buffer + rate * scale * (g + b * w) if nesterov else buffer)
        results.append(w)
    return results


def root_mean_square(values: np.ndarray) -> float:
    """As it says."""
    return float(np.sqrt(np.mean(values**2)))


def lower_median(values: np.ndarray, floor: float) -> float:
    """The lower median of absolute values, or the share of their root mean square if that is more."""
    ordered = np.sort(np.abs(values), axis=None)
    return max(ordered[(ordered.size - 1) // 2], floor * root_mean_square(values))


def numpy_median_curvature(
    *arguments: Any,
    floor: float = 0.1,
    statistic: str = "median",
    denominator: str = "separate",
    **more: Any,
) -> list[np.ndarray]:
    """MCLR, eqs. 20-22 of Gao and Zhong; with the l2 norm, eq. 23."""

    def size(values: np.ndarray) -> float:
        return np.linalg.norm(values) if statistic == "l2" else lower_median(values, floor)

    def radius(w: np.ndarray, g: np.ndarray, b: float, memory: dict) -> float:
        below = size(g) + b * size(w) if denominator == "separate" else size(g + b * w)
        return size(w) / below if size(w) and below else 1.0

    return steps(radius, *arguments, **more)


def numpy_percent_delta(*arguments: Any, floor: float = 0.1, **more: Any) -> list[np.ndarray]:
    """PercentDelta, eq. 24."""

    def radius(w: np.ndarray, g: np.ndarray, b: float, memory: dict) -> float:
        if not w.any() or not (g + b * w).any():
            return 1.0
        return w.size / np.sum(np.abs(g + b * w) / floored(np.abs(w), floor))

    return steps(radius, *arguments, **more)


def floored(values: np.ndarray, floor: float) -> np.ndarray:
    """Values, at least the share of their root mean square."""
    return np.maximum(values, floor * root_mean_square(values))


def numpy_curvature_radius(
    *arguments: Any, method: str = "secant", beta: float = 0.95, floor: float = 0.1, **more: Any
) -> list[np.ndarray]:
    """CBLR: the deviations from the explicit weights that every past update has in mean and variance."""

    def deviation(values: list[np.ndarray]) -> np.ndarray:
        shares = np.zeros(0)
        for step in range(len(values)):
            share = max(1 / (step + 1), 1 - beta)
            shares = np.append(shares * (1 - share), share)
        mean = np.tensordot(shares, np.array(values), 1)
        return np.sqrt(np.tensordot(shares, (np.array(values) - mean) ** 2, 1))

    def radius(w: np.ndarray, g: np.ndarray, b: float, memory: dict) -> np.ndarray:
        slope = g + b * w
        above, below, steepness = np.abs(w), np.abs(slope), 1.0
        if method == "secant":
            steepness = (1 + np.minimum(1, below) ** 2) ** 1.5
            memory.setdefault("w", []).append(w)
            memory.setdefault("g", []).append(slope)
            if len(memory["w"]) > 1 and deviation(memory["w"]).any():
                above, below = deviation(memory["w"]), deviation(memory["g"])
        above, below = floored(above, floor), floored(below, floor)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((above > 0) & (below > 0), steepness * above / below, 1.0)

    return steps(radius, *arguments, **more)


# What they share (momentum, decay, exclusions) is in one place, so each way of it is in the table once or twice.
_NESTEROV: dict[str, Any] = {"weight_decay": 0.01, "nesterov": True}
_PLAIN: dict[str, Any] = {"weight_decay": 0.01, "momentum": 0.0}
_EXCLUDED: dict[str, Any] = {
    "weight_decay": 0.01,
    "exclude_from_weight_decay": ["bias", "gamma", "beta"],
    "exclude_from_adaptation": ["bias"],
}

# (optimizer, arguments, oracle, a learning rate that trains a quadratic)
ROWS = [
    *(("MedianCurvature", more, numpy_median_curvature, 0.01) for more in ({}, _EXCLUDED)),
    *(
        ("MedianCurvature", {"weight_decay": 0.01, **more}, numpy_median_curvature, rate)
        for more, rate in (
            ({"denominator": "decayed_gradient"}, 0.01),
            ({"statistic": "l2"}, 0.01),
            ({"floor": 0.8, "ratio_bounds": (0.5, 1.0)}, 0.03),
        )
    ),
    *(("PercentDelta", more, numpy_percent_delta, 0.01) for more in ({}, _PLAIN)),
    ("PercentDelta", {"floor": 0.5, "ratio_bounds": (0.1, 0.5)}, numpy_percent_delta, 0.1),
    *(("CurvatureRadius", more, numpy_curvature_radius, 0.03) for more in ({}, _NESTEROV)),
    ("CurvatureRadius", {"beta": 0.5, "ratio_bounds": (0.1, 5.0)}, numpy_curvature_radius, 0.03),
    ("CurvatureRadius", {"method": "approximate", "floor": 0.3}, numpy_curvature_radius, 0.003),
]
