"""The trace of a matrix that only multiplies vectors: Hutchinson's estimator, and Hutch++."""

from __future__ import annotations

import dataclasses

import numpy as np

from tflbt import checks
from tflbt.curvature.lanczos import FlatProduct


@checks.arguments
@dataclasses.dataclass(frozen=True)
class TraceResult:
    """An estimated trace and how far to trust it.

    Args:
        trace: The estimate, in the unit of the loss per squared weight.
        standard_error: Its standard deviation as the probes show it; 0 where the trace is exact.
        products: Hessian-vector products taken.

    Example:
        >>> TraceResult(2.0, 0.1, 30).trace
        2.0
    """

    trace: checks.Measured
    standard_error: checks.Measured
    products: int


def hutchinson(product: FlatProduct, size: int, products: int, seed: int, dtype) -> TraceResult:
    r"""Average `g^\top H g` over `products` (at least 2) random vectors of signs g, `[size]`, one product each.

    $$\operatorname{tr} H = \mathbb E\, g^\top H g, \qquad \operatorname{Var}(g^\top H g) = 2 \sum_{i \ne j} H_{ij}^2$$

    Source: Hutchinson, "A stochastic estimator of the trace of the influence matrix" (1989).
    """
    random = np.random.default_rng(seed)
    return _averaged(product, [_signs(random, size, dtype) for _ in range(products)], 0.0, 0)


def hutch_plus_plus(
    product: FlatProduct, size: int, products: int, seed: int, dtype
) -> TraceResult:
    r"""Take the trace of the large eigenvalues exactly and leave Hutchinson the small rest.

    With Q an orthonormal basis of HS, where S is a third of the at least 4 `products`,

    $$\operatorname{tr} H = \operatorname{tr} Q^\top H Q + \operatorname{tr} (I - Q Q^\top) H (I - Q Q^\top).$$

    A Hessian of a classifier has few large eigenvalues: that is what Q catches. The estimate is exact, after `2 size`
    products, where Q can span the whole space. Its error falls with `products` itself, not its root, where all
    eigenvalues have one sign. Memory: two thirds of `products` vectors.

    Source: Meyer, Musco, Musco and Woodruff, "Hutch++: Optimal Stochastic Trace Estimation" (2021), algorithm 1.
    """
    random = np.random.default_rng(seed)
    rank = min(products // 3, size)
    sketch = np.stack([product(_signs(random, size, dtype)) for _ in range(rank)], 1)
    if not np.isfinite(sketch).all():
        return TraceResult(float("nan"), float("nan"), rank)
    basis = np.linalg.qr(sketch)[0].astype(dtype)
    exact = float(sum(column @ product(column) for column in basis.T))
    if rank == size:
        return TraceResult(exact, 0.0, 2 * rank)
    probes = []
    for _ in range(products - 2 * rank):
        signs = _signs(random, size, dtype)
        probes.append(signs - basis @ (basis.T @ signs))
    return _averaged(product, probes, exact, 2 * rank)


def _averaged(product: FlatProduct, probes, known: float, taken: int) -> TraceResult:
    values = np.array([float(probe @ product(probe)) for probe in probes])
    error = values.std(ddof=1) / np.sqrt(len(values))
    return TraceResult(known + float(values.mean()), float(error), taken + len(values))


def _signs(random: np.random.Generator, size: int, dtype) -> np.ndarray:
    return random.choice(np.array([-1.0, 1.0], dtype), size)
