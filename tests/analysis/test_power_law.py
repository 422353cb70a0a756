"""A fitted power law: its slope and the slope's error, against NumPy's own least squares."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tflbt.analysis.power_law import fit_power_law


def test_slope_and_error_are_those_of_least_squares():
    rng = np.random.default_rng(0)
    x = np.repeat([32, 128, 512, 2048], 3)
    y = 5 * x**-0.5 * np.exp(rng.normal(scale=0.1, size=12))
    (slope, offset), covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    found = fit_power_law(x, y)
    assert found.exponent == pytest.approx(slope) and found.factor == pytest.approx(np.exp(offset))
    assert found.error == pytest.approx(np.sqrt(covariance[0, 0]))
    assert str(found) == f"slope {slope:.3f} ± {found.error:.2g}"
    unusable = [*x, 8192, 0, 10], [*y, math.nan, 1, -1]
    assert fit_power_law(*unusable) == found


def test_few_points():
    assert fit_power_law([1, 1, 2], [1, 2, 0]) is None
    assert str(fit_power_law([1, 10], [1, 10])) == "slope 1.000"
