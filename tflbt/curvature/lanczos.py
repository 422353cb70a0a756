"""Lanczos for any function that multiplies a vector by a symmetric matrix: outer eigenvalues, or all at a glance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tflbt.curvature.result import DEFAULT_TOLERANCE

FlatProduct = Callable[[np.ndarray], np.ndarray]

#: What is smallest for the eigenvalue wanted first.
WHICH: dict[str, FlatProduct] = {
    "magnitude": lambda values: -np.abs(values),
    "largest": np.negative,
    "smallest": np.copy,
}


class Tridiagonal:
    r"""A symmetric matrix H seen from a start vector: `Q H Q^\top = T`, one product at a time.

    The rows of Q are orthonormal and span `v, Hv, H^2 v, \dots`; T is tridiagonal,

    $$\beta_{j} q_{j+1} = H q_j - \alpha_j q_j - \beta_{j-1} q_{j-1}.$$

    Every new row is made orthogonal to *all* others, twice: without that float32 loses the orthogonality within some
    ten products and eigenvalues come back a second time. Where the space is used up (`\beta_j = 0`) it goes on from a
    random direction, so that eigenvectors orthogonal to the start vector, and the copies of a multiple eigenvalue, are
    found too; before that a multiple eigenvalue is seen once only (`lanczos` looks for its copies). `start`,
    `[parameters]`, must not be zero. Q is kept in this process's memory (not the GPU's): 4 bytes x capacity x
    parameters in float32, allocated as it fills.

    Source: Lanczos (1950); Golub and Van Loan, "Matrix Computations", section 10.1 and 10.3.1 (complete
    reorthogonalisation, there with Householder matrices, here with Gram-Schmidt done twice).
    """

    def __init__(self, product: FlatProduct, start: np.ndarray, capacity: int):
        self._product = product
        self._random = np.random.default_rng(0)
        # Pages of an empty array take no memory until they are written.
        self._basis = np.empty((min(capacity, start.size), start.size), start.dtype)
        self._next = start / np.linalg.norm(start)
        self.alphas: list[float] = []
        self.betas: list[float] = []

    @property
    def size(self) -> int:
        """Products taken so far, the rows of Q."""
        return len(self.alphas)

    @property
    def start(self) -> np.ndarray:
        """The start vector, of length 1."""
        return self._basis[0]

    @property
    def full(self) -> bool:
        """True if no row or direction is left for another product, or the last product was not finite."""
        return self.size == len(self._basis) or not self.finite

    @property
    def finite(self) -> bool:
        """Whether all products were finite."""
        return bool(np.isfinite(self.alphas[-1:] + self.betas[-1:]).all())

    def extend(self) -> None:
        """Take one more product."""
        row = self.size
        self._basis[row] = self._next
        image = self._product(self._basis[row])
        self.alphas.append(float(np.dot(self._basis[row], image)))
        if not self.finite:
            self.betas.append(float("nan"))
            return
        rest = self._orthogonal(image)
        beta = float(np.linalg.norm(rest))
        scale = max(np.abs(self.alphas).max(), max(self.betas, default=0.0), beta)
        used_up = row + 1 == self._basis.shape[1]
        if used_up or beta <= 10 * np.finfo(rest.dtype).eps * scale:
            beta = 0.0
            rest = self._random.standard_normal(rest.size).astype(rest.dtype)
        self.betas.append(beta)
        if not used_up and np.isfinite(beta):
            self._next = self._unit(self._orthogonal(self._unit(self._orthogonal(rest))))

    def eigen(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r"""Return T's eigenvalues (ascending, `[size]`), its unit eigenvectors s as columns, and residuals in H.

        These are `|H v - \theta v| = \beta |s_{last}|` of each `v = Q^\top s`, `[size]`.
        """
        off = self.betas[:-1]
        values, columns = np.linalg.eigh(np.diag(self.alphas) + np.diag(off, 1) + np.diag(off, -1))
        return values, columns, np.abs(self.betas[-1] * columns[-1])

    def vector(self, column: np.ndarray) -> np.ndarray:
        """Return the unit vector of H's space that a column of `eigen` stands for."""
        return self._unit(column.astype(self._basis.dtype) @ self._basis[: self.size])

    def _orthogonal(self, vector: np.ndarray) -> np.ndarray:
        rows = self._basis[: self.size]
        return vector - (rows @ vector) @ rows

    @staticmethod
    def _unit(vector: np.ndarray) -> np.ndarray:
        return vector / max(np.linalg.norm(vector), np.finfo(vector.dtype).tiny)


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """An approximate eigenpair: value, unit vector `[parameters]`, the residual's length, whether its place is sure.

    The place is not sure where a copy of a multiple eigenvalue may have been missed.
    """

    value: float
    vector: np.ndarray
    residual: float
    is_sure: bool = True

    def has_converged(self, tolerance: float) -> bool:
        """Whether the residual is at most this share of the value."""
        return self.residual <= tolerance * abs(self.value)


def lanczos(
    product: FlatProduct,
    start: np.ndarray,
    *,
    count: int = 1,
    which: str = "magnitude",
    iterations: int = 10,
    tolerance: float | None = None,
) -> tuple[list[Pair], int]:
    r"""Find outer eigenvalues from the space of all powers, where power iteration keeps the last only.

    With a `tolerance` it stops once each of the `count` pairs has `|Hv - \theta v| \le \text{tolerance} \cdot
    |\theta|`. Returns the pairs, best first in the sense of `which`, and the products taken. After a product that is
    not finite all values and residuals are NaN.

    The space of one start vector holds a single vector of a multiple eigenvalue. So, for a `count` of two or more, what
    is orthogonal to the pairs found is searched from another start vector, with as many products again, until such a
    search finds nothing that belongs among them.

    Source: Parlett, "The Symmetric Eigenvalue Problem" (1980), chapter 13.
    """
    krylov = Tridiagonal(product, start, iterations)
    while True:
        krylov.extend()
        if not krylov.finite:
            return [Pair(float("nan"), krylov.start, float("nan"))] * count, krylov.size
        values, columns, residuals = krylov.eigen()
        best = np.argsort(WHICH[which](values), kind="stable")[:count]
        done = tolerance is not None and (residuals[best] <= tolerance * abs(values[best])).all()
        if krylov.full or (done and len(best) == count):
            break
    pairs = _pairs(krylov, best)
    if count == 1 or krylov.size == start.size:
        return pairs, krylov.size
    pairs, more = _with_copies(
        product, pairs, WHICH[which], krylov.size, tolerance or DEFAULT_TOLERANCE
    )
    return pairs, krylov.size + more


def _pairs(krylov: Tridiagonal, chosen: Iterable[int]) -> list[Pair]:
    """The pairs of these numbers among the eigenvalues of T."""
    values, columns, residuals = krylov.eigen()
    return [
        Pair(float(values[i]), krylov.vector(columns[:, i]), float(residuals[i])) for i in chosen
    ]


def _with_copies(
    product: FlatProduct,
    pairs: list[Pair],
    order: Callable[[Any], Any],
    iterations: int,
    tolerance: float,
) -> tuple[list[Pair], int]:
    """Searches what is orthogonal to the converged pairs until it holds none that belongs among them."""
    count, products, random = len(pairs), 0, np.random.default_rng([1, 2])  # no caller's seed
    for _ in range(count + 1):
        locked = [pair for pair in pairs if pair.has_converged(tolerance)]
        size, dtype = pairs[0].vector.size, pairs[0].vector.dtype
        found = np.stack([pair.vector for pair in locked]) if locked else np.zeros([0, size], dtype)

        def rest(vector: np.ndarray, found: np.ndarray = found) -> np.ndarray:
            return vector - (found @ vector) @ found

        start = rest(rest(random.standard_normal(size).astype(dtype)))
        capacity = min(iterations, size - len(locked))
        krylov = Tridiagonal(lambda vector: rest(product(vector)), start, capacity)
        while not krylov.full:
            krylov.extend()
        products += krylov.size
        if not krylov.finite:
            break
        new = _pairs(krylov, np.argsort(order(krylov.eigen()[0]), kind="stable")[:count])
        best, reach = new[0], order(new[0].value + new[0].residual * np.array([-1.0, 1.0])).min()
        if len(locked) == count:  # a value's error is of the order of the residual's square
            least = order(locked[-1].value) - tolerance**2 * abs(locked[-1].value)
            new = [pair for pair in new if order(pair.value) < least]
        pool = [*locked, *new]
        ranks = np.argsort(order(np.array([pair.value for pair in pool])), kind="stable")
        pairs = [pool[i] for i in ranks[:count]]
        is_sure = best.has_converged(tolerance) or krylov.size == size - len(locked)
        is_sure = bool(is_sure or reach >= order(pairs[-1].value))
        if not any(pair.has_converged(tolerance) for pair in pairs if pair not in locked):
            return [dataclasses.replace(pair, is_sure=is_sure) for pair in pairs], products
    return [dataclasses.replace(pair, is_sure=False) for pair in pairs], products
