"""How far weights have gone from where they began, by the number of updates: the two laws, fitted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Diffusion:
    r"""Fits of the distance D after t updates.

    Ultra-slow diffusion in a random potential has \(D = a + c \log_{10} t\) (Hoffer et al. 2017, alpha = 2); on a flat
    potential \(D = b \sqrt t\), so that \(\log D\) against \(\log t\) has slope 1/2.

    Args:
        offset: a.
        per_decade: c, the distance for ten times the updates.
        r_squared: The share of D's variance that the first law explains; NaN where D does not vary.
        root: b.
        root_r_squared: The same share for the second law; below 0 it explains less than the mean does.
        slope: Of \(\log D\) against \(\log t\), by least squares.
        points: The number of updates fitted.
    """

    offset: float
    per_decade: float
    r_squared: float
    root: float
    root_r_squared: float
    slope: float
    points: int


def fit_diffusion(
    updates: Sequence[float], distances: Sequence[float], after: float = 0
) -> Diffusion | None:
    """Fits both laws by least squares; None where fewer than three updates remain.

    Args:
        updates: t, the updates at which distances were measured.
        distances: D there.
        after: Only updates after this one count, such as the last of the warm-up, whose rates are other ones.

    Source: section 4.2 and appendix 6.1 of `limit-of-the-batch-size.txt`; Hoffer, Hubara and Soudry (2017), section 3.

    Example:
        >>> found = fit_diffusion([1, 10, 100, 1000], [2.0, 5.0, 8.0, 11.0])
        >>> round(found.offset, 6), round(found.per_decade, 6), round(found.r_squared, 6)
        (2.0, 3.0, 1.0)
    """
    pairs = [
        (t, d)
        for t, d in zip(updates, distances)
        if t > max(after, 0) and d > 0 and math.isfinite(d)
    ]
    if len(pairs) < 3:
        return None
    t, d = np.array(pairs, float).T
    decades = np.log10(t)
    per_decade, offset = np.polyfit(decades, d, 1)
    root = float((np.sqrt(t) * d).sum() / t.sum())
    return Diffusion(
        offset=float(offset),
        per_decade=float(per_decade),
        r_squared=_explained(d, offset + per_decade * decades),
        root=root,
        root_r_squared=_explained(d, root * np.sqrt(t)),
        slope=float(np.polyfit(decades, np.log10(d), 1)[0]),
        points=len(pairs),
    )


def is_log_spaced(update: int, per_decade: int) -> bool:
    """Says whether an update is one of `10 ** (k / per_decade)`, rounded: evenly spread over a logarithmic axis.

    Example:
        >>> [update for update in range(1, 60) if is_log_spaced(update, 3)]
        [1, 2, 5, 10, 22, 46]
    """
    nearest = round(per_decade * math.log10(update))
    return any(round(10 ** (k / per_decade)) == update for k in (nearest - 1, nearest, nearest + 1))


def _explained(values: np.ndarray, fitted: np.ndarray) -> float:
    """Returns the share of the values' variance that is fitted."""
    whole = ((values - values.mean()) ** 2).sum()
    return float(1 - ((values - fitted) ** 2).sum() / whole) if whole > 0 else math.nan
