"""Tests of the trust ratio: its norms, its zeros, its bounds, and what names are excluded."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers.trust_ratio import check_bounds, check_patterns, matches, norm, trust_ratio


def ratio(weight_norm: float, update_norm: float, bounds=None) -> float:
    return float(trust_ratio(tf.constant(weight_norm), tf.constant(update_norm), bounds))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_norm_is_float32_and_does_not_overflow_in_sixteen_bits(dtype):
    value = norm(tf.fill([300, 300], tf.constant(20.0, dtype)))  # 6,000; squares add up to 3.6e7
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(6000, rel=1e-6)


def test_norm_of_any_shape_is_numpys():
    for shape in [(), (1,), (7,), (3, 3, 4, 5), (0,)]:
        array = np.random.default_rng(0).normal(size=shape).astype("float32")
        assert float(norm(array)) == pytest.approx(float(np.linalg.norm(array.ravel())), rel=1e-6)


def test_norm_takes_a_variable():
    assert float(norm(tf.Variable([3.0, 4.0]))) == 5.0


@pytest.mark.parametrize("norms", [(0.0, 2.0), (2.0, 0.0), (0.0, 0.0), (1e30, 1e-30)])
def test_a_zero_norm_or_an_overflow_makes_one(norms):
    assert ratio(*norms) == 1.0


def test_an_update_of_infinite_norm_moves_nothing():
    """A gradient whose square overflows must not fall into the same branch as a zero one."""
    assert ratio(1.0, math.inf) == 0.0


def test_a_ratio_below_one_stays():
    assert ratio(1e-6, 1e3) == pytest.approx(1e-9)


def test_bounds_clip_the_ratio_that_is_one_too():
    assert ratio(8.0, 2.0, (0.5, 3.0)) == 3.0
    assert ratio(2.0, 8.0, (0.5, 3.0)) == 0.5
    assert ratio(0.0, 8.0, (0.1, 0.5)) == 0.5
    assert ratio(8.0, 2.0, (0.5, math.inf)) == 4.0


def test_graph_gives_the_same():
    assert float(tf.function(trust_ratio)(tf.constant(0.0), tf.constant(0.0))) == 1.0


@pytest.mark.parametrize("bounds", [(1,), (2.0, 1.0), (-1.0, 1.0), (0, 1, 2), (math.nan, 1.0)])
def test_wrong_bounds_are_named(bounds):
    with pytest.raises(ValueError, match="^my_bounds="):
        check_bounds(bounds, "my_bounds")


def test_good_bounds_become_floats():
    assert check_bounds(None) is None
    assert check_bounds([0, 10]) == (0.0, 10.0)


@pytest.mark.parametrize("patterns", ["bias", ["("], [3]])
def test_wrong_patterns_are_named(patterns):
    with pytest.raises(ValueError, match="^excluded"):
        check_patterns(patterns, "excluded")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), False),
        (("bias",), False),
        (("kernel",), True),
        (("^conv1/",), True),
        (("conv1/k.*:0$",), True),
    ],
)
def test_names_match_regular_expressions_anywhere(patterns, expected):
    variable = tf.Variable(0.0, name="conv1/kernel")
    assert matches(check_patterns(patterns, "excluded"), variable) == expected
