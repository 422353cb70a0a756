"""Tests of MedianCurvature alone: LARS is an instance of it, and where the paper says that it fails it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers import LARS, MedianCurvature

RATES = (0.01, 0.02, 0.05, 0.05, 0.005)
RANDOM = np.random.default_rng(0)
W, G = RANDOM.normal(size=1000).astype("float32"), RANDOM.normal(size=1000).astype("float32")


def lower_median(values):
    return np.sort(np.abs(values), axis=None)[(np.size(values) - 1) // 2]


def root_mean_square(values):
    return np.sqrt(np.mean(np.square(values, dtype=np.float64)))


def one_step(gradient, weights, rate=1.0, **arguments):
    """How far one step without momentum moves a variable, worked out in float64."""
    variable = tf.Variable(np.asarray(weights, np.float64), name="kernel")
    MedianCurvature(rate, momentum=0.0, **arguments).apply_gradients(
        [(tf.constant(gradient, tf.float64), variable)]
    )
    return np.asarray(weights, np.float64) - variable.numpy()


def radius(gradient, weights, **arguments):
    """R, told from the largest move."""
    where = np.argmax(np.abs(gradient))
    return one_step(gradient, weights, **arguments)[where] / np.asarray(gradient)[where]


# Eqs. 20-23.


@pytest.mark.parametrize("denominator", ["separate", "decayed_gradient"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"momentum": 0.0},
        {"momentum": 0.9, "weight_decay": 0.01},
        {"momentum": 0.5, "weight_decay": 0.01, "nesterov": True},
        {"weight_decay": 0.01, "ratio_bounds": (0.5, 0.9), "exclude_from_adaptation": ["bias"]},
    ],
)
def test_with_the_l2_norm_it_is_lars(network, arguments, denominator):
    """Eq. 23, bit for bit, while the rate changes."""
    ours, theirs = network(), network()
    arguments = {**arguments, "denominator": denominator}
    optimizer = MedianCurvature(statistic="l2", **arguments)
    lars = LARS(trust_coefficient=1.0, **arguments)
    for number, rate in enumerate(RATES):
        optimizer.learning_rate = lars.learning_rate = rate
        ours.step(optimizer, number)
        theirs.step(lars, number)
    for actual, expected, start in zip(ours.values(), theirs.values(), network().values()):
        np.testing.assert_array_equal(actual, expected)
        assert (actual != start).any()


def test_the_median_is_not_lars():
    """Heavy tails, which the median does not see."""
    weights = np.where(np.arange(1000) < 10, 100 * W, W)
    assert radius(G, weights, statistic="l2") > 5 * radius(G, weights)


def test_decay_is_taken_with_the_median_of_the_weights():
    """Eq. 22; `decayed_gradient` takes the median of the sum."""
    b, m = 0.5, lower_median
    separate = m(W) / (m(G) + b * m(W))
    joint = m(W) / m(G + b * W)
    assert abs(separate - joint) > 0.1
    for denominator, expected in (("separate", separate), ("decayed_gradient", joint)):
        step = one_step(G, W, 0.1, weight_decay=b, denominator=denominator)
        np.testing.assert_allclose(step, 0.1 * expected * (G + b * W), rtol=1e-5)


def test_a_floor_of_zero_is_the_papers_rule():
    """However far apart the median and the rest are."""
    gradient = np.where(np.arange(1000) < 100, G, 1e-6 * G)
    expected = lower_median(W) / lower_median(gradient)
    assert radius(gradient, W, floor=0.0) == pytest.approx(expected, rel=1e-5)
    assert radius(gradient, W, floor=0.1) < 1e-3 * expected


@pytest.mark.parametrize("scale", [2.0**-40, 1e-4, 7.0, 2.0**40])
@pytest.mark.parametrize("arguments", [{}, {"statistic": "l2"}, {"floor": 0.9}])
def test_weights_and_gradients_of_another_scale_have_the_same_radius(scale, arguments):
    expected = scale * one_step(G, W, 0.1, weight_decay=0.01, **arguments)
    step = one_step(scale * G, scale * W, 0.1, weight_decay=0.01, **arguments)
    np.testing.assert_allclose(step, expected, rtol=1e-6, atol=scale * 1e-9)


def test_the_share_that_a_layer_moves_is_the_learning_rate():
    """Of its median: that is what gamma means."""
    assert lower_median(one_step(G, W, 0.03)) == pytest.approx(0.03 * lower_median(W), rel=1e-5)


def test_the_medians_are_of_absolute_values():
    """Those of the numbers themselves are next to 0 in a layer, which is eq. 18."""
    signed = np.sort(W)[499] / np.sort(G)[499]
    ours = radius(G, W)
    assert ours == pytest.approx(1.0, abs=0.1)  # both are standard normal
    assert not 0.5 < abs(signed) < 2
    assert radius(G, W - np.median(W)) == pytest.approx(ours, rel=0.1)


# Eqs. 18 and 19.


@pytest.mark.parametrize("tiny", [0.0, 1e-30])
def test_gradients_that_are_nearly_all_zero_give_a_bounded_rate(tiny):
    """Eq. 19. The others are 1e30 times as large, and would be moved as many times too far."""
    floor, weights = 0.01, W[:100]
    gradient = np.full(100, tiny)
    gradient[7] = 1.0
    bound = lower_median(weights) / (floor * root_mean_square(gradient))
    assert radius(gradient, weights, floor=floor) == pytest.approx(bound, rel=1e-5)
    papers = radius(gradient, weights, floor=0.0)
    assert papers == pytest.approx(lower_median(weights) / tiny if tiny else 1.0, rel=1e-5)


def test_weights_that_are_nearly_all_zero_still_move():
    """Eq. 18."""
    weights, gradient = np.zeros(100), G[:100]
    weights[7] = 1.0
    expected = 0.01 * root_mean_square(weights) / lower_median(gradient)
    assert radius(gradient, weights, floor=0.01) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_a_layer_of_zeros_has_the_radius_one(floor):
    np.testing.assert_allclose(one_step(G, 0 * W, 0.1, floor=floor), 0.1 * G, rtol=1e-6)
    assert not one_step(0 * G, W, floor=floor).any()


def test_a_layer_without_gradient_still_decays():
    step = one_step(0 * G, W, 0.01, weight_decay=0.1)
    np.testing.assert_allclose(step, 0.01 * W, rtol=1e-5)  # R = 1 / b


# Bounds and arguments.


def test_bounds_hold_and_are_counted():
    layers = [tf.Variable(scale * W, name=f"layer_{scale}/kernel") for scale in (0.1, 1.0, 10.0)]
    before = [layer.numpy() for layer in layers]
    optimizer = MedianCurvature(0.1, momentum=0.0, ratio_bounds=(0.5, 2.0))
    assert optimizer.bounded_share is None
    optimizer.apply_gradients([(tf.constant(G), layer) for layer in layers])
    assert optimizer.bound_counts() == (2, 3)
    assert float(optimizer.bounded_share) == pytest.approx(2 / 3)
    free = lower_median(W) / lower_median(G)
    for layer, start, expected in zip(layers, before, (0.5, free, 2.0)):
        np.testing.assert_allclose(start - layer.numpy(), 0.1 * expected * G, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("learning_rate", value) for value in (-0.1, math.nan)),
        *(("floor", value) for value in (1.0, -0.1, math.nan)),
        *(("momentum", value) for value in (1.0, -0.1)),
        *(("weight_decay", value) for value in (-1e-4, math.nan)),
        *(("ratio_bounds", value) for value in ((2.0, 1.0), (-1.0, 1.0), (1.0,))),
        ("statistic", "mean"),
        ("denominator", "x"),
        ("exclude_from_adaptation", "bias"),
    ],
)
def test_a_wrong_argument_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}"):
        MedianCurvature(**{name: value})
    assert name in MedianCurvature().get_config()
