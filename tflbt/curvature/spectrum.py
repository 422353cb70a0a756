"""How a Hessian's eigenvalues are spread, by stochastic Lanczos quadrature."""

from __future__ import annotations

import dataclasses

import numpy as np

from tflbt import checks
from tflbt.curvature.lanczos import FlatProduct, Tridiagonal


@checks.arguments
@dataclasses.dataclass(frozen=True, eq=False)
class SpectralDensity:
    r"""The density of eigenvalues as a weighted set of nodes, one set per probe.

    $$\phi(t) = \frac1n \sum_{i=1}^n \delta(t - \lambda_i) \approx
    \frac1p \sum_{l=1}^p \sum_{k=1}^m w_{lk}\, \delta(t - \theta_{lk})$$

    Args:
        nodes: `\theta`, `[probes, products]`, ascending in each row. The outer ones are eigenvalues, nearly.
        weights: w, the same shape; each row adds up to 1.
        parameters: n, the number of weights, to turn shares into counts.

    Example:
        >>> density = SpectralDensity(np.array([[1.0, 3.0]]), np.array([[0.75, 0.25]]), 8)
        >>> density.moment(1) * density.parameters                            # the trace
        12.0
    """

    nodes: np.ndarray
    weights: np.ndarray
    parameters: int

    def moment(self, power: int) -> float:
        r"""Return `\frac1n \operatorname{tr} H^{power}`; times `parameters` the trace."""
        return float((self.weights * self.nodes**power).sum(axis=1).mean())

    def smooth(
        self, grid: np.ndarray | None = None, width: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the density as a sum of Gaussians.

        Args:
            grid: Default None: 400 points over the nodes and 4 widths more. Where to evaluate it.
            width: Default None: 1% of the nodes' range. The Gaussians' standard deviation, above 0.

        Returns:
            The grid and the density there, `[points]` each; its integral is 1.

        Raises:
            ValueError: A width that is not above 0.

        Example:
            >>> density = SpectralDensity(np.array([[0.0, 1.0]]), np.array([[0.9, 0.1]]), 10)
            >>> grid, heights = density.smooth()
            >>> round(float((heights * np.gradient(grid)).sum()), 3)
            1.0
        """
        low, high = float(self.nodes.min()), float(self.nodes.max())
        if width is None:
            width = 0.01 * (high - low) or 0.01 * abs(high) or 0.01
        if not width > 0 and not np.isnan(width):
            raise ValueError(f"width={width!r} must be above 0, or None for 1% of the range")
        if grid is None:
            grid = np.linspace(low - 4 * width, high + 4 * width, 400)
        distance = (np.asarray(grid)[:, None] - self.nodes.ravel()) / width
        heights = np.exp(-0.5 * distance**2) / (width * np.sqrt(2 * np.pi))
        return np.asarray(grid), heights @ (self.weights.ravel() / len(self.nodes))


def lanczos_quadrature(
    product: FlatProduct, size: int, products: int, probes: int, seed: int, dtype
) -> SpectralDensity:
    r"""Run Lanczos from `probes` random vectors and read nodes and weights off each tridiagonal matrix.

    Its eigenvalues are the nodes, the squares of its eigenvectors' first entries the weights: the Gauss quadrature of
    `g^\top f(H) g / |g|^2`, exact for polynomials up to degree 2m - 1 after m products (`size` at most). The density is
    NaN in the rows of probes where a product is not finite.

    Source: Ghorbani, Krishnan and Xiao, "An Investigation into Neural Net Optimization via Hessian Eigenvalue Density"
    (2019), section 2; Lin, Saad and Yang (2016).
    """
    random = np.random.default_rng(seed)
    steps = min(products, size)
    nodes, weights = np.full((2, probes, steps), np.nan)
    for row in range(probes):
        krylov = Tridiagonal(product, random.standard_normal(size).astype(dtype), steps)
        while not krylov.full:
            krylov.extend()
        if krylov.finite:
            nodes[row], columns, _ = krylov.eigen()
            weights[row] = columns[0] ** 2
    return SpectralDensity(nodes, weights, size)
