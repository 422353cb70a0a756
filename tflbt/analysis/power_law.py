"""A power law fitted to measurements, such as a gradient's size against the batch size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class PowerLaw:
    r"""The fit \(y = c\,x^k\): the straight line of \(\log y\) against \(\log x\).

    Attributes:
        factor: c.
        exponent: k, the slope.
        error: The standard error of the slope; NaN with two points.
    """

    factor: float
    exponent: float
    error: float

    def __str__(self) -> str:
        """The slope and its error, such as "slope -0.498 ± 0.004"."""
        error = "" if math.isnan(self.error) else f" ± {self.error:.2g}"
        return f"slope {self.exponent:.3f}{error}"


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw | None:
    """Fits a power law by least squares of the logarithms; None where fewer than two values of x have a positive y.

    Points where x or y is not positive and finite do not count. Several points may have the same x.

    Example:
        >>> found = fit_power_law([1, 100, 10_000], [8.0, 0.8, 0.08])
        >>> round(found.exponent, 6), round(found.factor, 6), round(found.error, 6)
        (-0.5, 8.0, 0.0)
    """
    points = np.array([x, y], float)
    points = np.log(points[:, np.all((points > 0) & np.isfinite(points), axis=0)])
    if len(set(points[0])) < 2:
        return None
    away, error = points[0] - points[0].mean(), math.nan
    exponent = float(away @ points[1] / (away @ away))
    rest = points[1] - points[1].mean() - exponent * away
    if points.shape[1] > 2:
        error = math.sqrt(rest @ rest / (points.shape[1] - 2) / (away @ away))
    return PowerLaw(
        factor=math.exp(points[1].mean() - exponent * points[0].mean()),
        exponent=exponent,
        error=error,
    )
