"""Tests of the limit of stability: against the recursions themselves, on a parabola."""

from __future__ import annotations

import math

import pytest

from tflbt.control.stability import StabilityWatch, stability_limit


def size_after(updates, rate, eigenvalue, momentum, nesterov):
    """|w| after so many of SGD's updates on the loss eigenvalue w^2 / 2, from w = 1."""
    w, v = 1.0, 0.0
    for _ in range(updates):
        gradient = eigenvalue * w
        v = momentum * v - rate * gradient
        w += momentum * v - rate * gradient if nesterov else v
    return abs(w)


@pytest.mark.parametrize("rate", [0.01, 3.0])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_sgd_converges_just_below_the_limit_and_diverges_just_above(rate, nesterov, momentum):
    limit = stability_limit(rate, momentum, nesterov)
    assert size_after(4000, rate, 0.99 * limit, momentum, nesterov) < 1e-3
    assert size_after(400, rate, 1.01 * limit, momentum, nesterov) > 1e3


def test_the_papers_limit_and_those_with_momentum():
    assert stability_limit(0.05) == stability_limit(0.05, nesterov=True) == 40.0
    assert stability_limit(0.05, 0.9) == pytest.approx(76.0)
    assert stability_limit(0.05, 0.9, True) == pytest.approx(76.0 / 2.8)
    assert stability_limit(0.0, 0.9) == math.inf
    assert stability_limit(1.0, 1.0) == 4.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((-0.1,), "learning_rate=-0.1"),
        ((math.nan,), "learning_rate=nan"),
        ((0.1, -0.1), "momentum=-0.1"),
        ((0.1, 1.1), "momentum=1.1"),
    ],
)
def test_arguments_out_of_range(arguments, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        stability_limit(*arguments)


def test_the_watch_tells_each_crossing_once():
    watch = StabilityWatch()
    limits = [10.0, 10.0, 10.0, 10.0, 5.0, 5.0, 5.0, math.inf]
    values = [9.0, 10.0, 50.0, 9.0, 9.0, math.nan, math.inf, math.inf]
    told = [watch.measured(value, limit) for value, limit in zip(values, limits)]
    assert told == [None, "above", None, "below", "above", None, None, None]
