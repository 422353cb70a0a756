"""Fits of distances that follow a law give that law back."""

from __future__ import annotations

import numpy as np
import pytest

from tflbt.analysis.diffusion import fit_diffusion, is_log_spaced

T = np.unique(np.geomspace(1, 5000, 30).astype(int))


def test_the_logarithmic_law():
    found = fit_diffusion(T, 0.7 + 2.5 * np.log10(T))
    assert (found.offset, found.per_decade) == (pytest.approx(0.7), pytest.approx(2.5))
    assert found.r_squared == pytest.approx(1) and found.root_r_squared < 0.5
    assert found.points == len(T)


def test_the_flat_potential():
    found = fit_diffusion(T, 3 * np.sqrt(T))
    assert (found.root, found.slope) == (pytest.approx(3), pytest.approx(0.5))
    assert found.root_r_squared == pytest.approx(1) and found.r_squared < 0.9


def test_only_what_is_after_the_warmup_counts():
    d = np.where(T <= 100, 50.0, 1 + np.log10(T))
    assert fit_diffusion(T, d, after=100).per_decade == pytest.approx(1)
    assert fit_diffusion(T, d, after=4000) is None
    assert np.isnan(fit_diffusion([1, 2, 3, 4], [2, 2, 2, np.nan]).r_squared)


def test_updates_are_evenly_spread():
    due = [t for t in range(1, 1001) if is_log_spaced(t, 10)]
    assert due == sorted({round(10 ** (k / 10)) for k in range(31)})
