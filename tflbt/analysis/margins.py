"""What the margins of many samples say together: the accumulated margin of a quartile range, and its spread."""

from __future__ import annotations

import numpy as np

COLUMNS = ("margin", "margin_mean", "margin_q1", "margin_median", "margin_q3", "margin_negative")


def margin_statistics(margins: np.ndarray, positive_only: bool = False) -> dict[str, float]:
    """Accumulates margins over the range between their quartiles, as the two-phase paper does.

    With q1 and q3 the quartiles of all margins, those with `q1 <= margin <= q3` count.

    Args:
        margins: One number per sample, `[samples]`, normalised or not.
        positive_only: Whether margins of at most 0, of samples that are misclassified, are left out first; default
            False: the paper writes "across all training samples". The publication that defines the margins (Jiang et
            al. 2018) uses positive ones.

    Returns:
        `margin`, the sum of those that count; `margin_mean`, their mean; `margin_q1`, `margin_median`, `margin_q3`;
        and `margin_negative`, the share below 0 of all. NaN where there is no margin, or one of them is NaN.

    Source: appendix A.1 and Fig. 1 of `two-phase.txt`.

    Example:
        >>> margin_statistics(np.array([-9.0, 1.0, 2.0, 3.0, 50.0]))["margin"]
        6.0
    """
    chosen = margins[margins > 0] if positive_only else margins
    if not len(chosen) or np.isnan(margins).any():
        return dict.fromkeys(COLUMNS, float("nan"))
    q1, median, q3 = np.quantile(chosen, [0.25, 0.5, 0.75])
    counted = chosen[(chosen >= q1) & (chosen <= q3)].astype(np.float64)
    values = (counted.sum(), counted.mean(), q1, median, q3, (margins < 0).mean())
    return dict(zip(COLUMNS, map(float, values)))
