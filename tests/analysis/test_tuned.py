"""Tests of what a tuned recipe's seeds come to."""

from __future__ import annotations

import math
import statistics

import pytest

from tflbt.analysis.tuned import Tuned


def tuned(*results: float) -> Tuned:
    return Tuned("lars", 12, 3, {}, 0.97, "val_accuracy", "max", results)


def test_runs_that_diverged_are_counted_and_left_out():
    found = tuned(0.96, math.nan, 0.99, math.inf, 0.97)
    assert found.diverged == 2
    assert found.finite == [0.96, 0.99, 0.97]
    assert found.mean == pytest.approx(sum(found.finite) / 3)
    assert found.deviation == pytest.approx(statistics.stdev(found.finite))


def test_a_deviation_takes_two_runs_and_a_mean_takes_one():
    assert tuned(0.9).mean == 0.9
    assert math.isnan(tuned(0.9).deviation)
    assert math.isnan(tuned(math.nan).mean)
