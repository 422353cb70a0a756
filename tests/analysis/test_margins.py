"""The accumulated margin against a loop."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from tflbt.analysis.margins import COLUMNS, margin_statistics


@pytest.mark.parametrize("positive_only", [False, True])
def test_sum_and_quartiles_are_those_of_a_loop(positive_only):
    margins = np.random.default_rng(0).normal(0.3, 1.0, size=101)
    chosen = sorted(m for m in margins if m > 0 or not positive_only)
    q1, median, q3 = statistics.quantiles(chosen, n=4, method="inclusive")
    middle = [m for m in chosen if q1 <= m <= q3]
    wanted = [sum(middle), statistics.fmean(middle), q1, median, q3, sum(margins < 0) / 101]
    found = margin_statistics(margins, positive_only)
    assert tuple(found) == COLUMNS
    np.testing.assert_allclose(list(found.values()), wanted)


@pytest.mark.parametrize("margins", [[], [np.nan, 1.0]])
def test_nothing_to_accumulate_is_no_number(margins):
    assert np.isnan(list(margin_statistics(np.array(margins, "float32")).values())).all()
    assert np.isnan(margin_statistics(np.array([-1.0]), positive_only=True)["margin"])
