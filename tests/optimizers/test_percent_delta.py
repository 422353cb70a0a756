"""Tests of PercentDelta alone: what its name says, and the weights near zero that would stop it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tflbt.optimizers import PercentDelta

RANDOM = np.random.default_rng(0)
W, G = RANDOM.uniform(1, 4, 50) * RANDOM.choice([-1.0, 1.0], 50), RANDOM.normal(size=50)


def one_step(gradient, weights, rate=1.0, dtype=np.float64, **arguments):
    """How far one step without momentum moves a variable."""
    variable = tf.Variable(np.asarray(weights, dtype), name="kernel")
    PercentDelta(rate, momentum=0.0, **arguments).apply_gradients(
        [(tf.constant(gradient, dtype), variable)]
    )
    return np.asarray(weights, dtype) - variable.numpy()


def radius(gradient, weights, **arguments):
    """R, told from the largest move."""
    where = np.argmax(np.abs(gradient))
    return one_step(gradient, weights, **arguments)[where] / np.asarray(gradient)[where]


def root_mean_square(values):
    return np.sqrt(np.mean(np.square(values)))


# Eq. 24.


def test_eq_24_by_hand():
    """|g / w| is 1, 2, 1/4 and 3/4: size / norm = 4 / 4."""
    step = one_step([2.0, -2.0, 1.0, 3.0], [2.0, 1.0, -4.0, 4.0], 0.5, floor=0.0)
    np.testing.assert_allclose(step, 0.5 * np.array([2.0, -2.0, 1.0, 3.0]), rtol=1e-6)


def test_decay_belongs_to_the_gradient_before_the_radius():
    """G = g + b w is 3, 0, 1: |G / w| is 3/2, 0, 1/2 and R = 3 / 2."""
    weights, gradient = np.array([2.0, -2.0, 2.0]), np.array([2.0, 1.0, 0.0])
    step = one_step(gradient, weights, weight_decay=0.5)
    np.testing.assert_allclose(step, 1.5 * np.array([3.0, 0.0, 1.0]), rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("rate", [0.003, 0.1, 1.0])
def test_weights_move_by_the_learning_rate_of_themselves_on_average(rate, decay):
    """Where no floor bites, as here: no weight is below a tenth of the root mean square."""
    moved = np.abs(one_step(G, W, rate, weight_decay=decay) / W)
    assert moved.mean() == pytest.approx(rate, rel=1e-6)
    assert moved.max() > 2 * rate


def test_the_average_is_the_layers_own():
    """Two layers of very different gradients move by the same share, an excluded one by its plain gradient."""
    layers = [tf.Variable(W, name=f"{name}/kernel") for name in ("steep", "flat", "out")]
    optimizer = PercentDelta(0.01, momentum=0.0, exclude_from_adaptation=["out"])
    gradients = [tf.constant(scale * G) for scale in (100.0, 0.01, 1.0)]
    optimizer.apply_gradients(zip(gradients, layers))
    moves = [W - layer.numpy() for layer in layers]
    for move in moves[:2]:
        assert np.abs(move / W).mean() == pytest.approx(0.01, rel=1e-6)
    np.testing.assert_allclose(moves[2], 0.01 * G)


@pytest.mark.parametrize("scale", [2.0**-40, 1e-4, 7.0, 2.0**40])
@pytest.mark.parametrize("floor", [0.0, 0.1, 0.9])
def test_weights_and_gradients_of_another_scale_have_the_same_radius(scale, floor):
    arguments = {"weight_decay": 0.01, "floor": floor}
    expected = scale * one_step(G, W, 0.1, **arguments)
    step = one_step(scale * G, scale * W, 0.1, **arguments)
    np.testing.assert_allclose(step, expected, rtol=1e-6)


def test_it_is_the_harmonic_mean_of_the_radii():
    """Below their mean, and their common value where they are all the same."""
    radii = np.abs(W / G)
    assert radii.min() < radius(G, W, floor=0.0) < radii.mean()
    assert radius(0.5 * W, W, floor=0.0) == pytest.approx(2.0, rel=1e-6)


# Eqs. 18 and 19.


@pytest.mark.parametrize("tiny", [0.0, 1e-12, -1e-30])
def test_one_weight_near_zero_does_not_stop_the_layer(tiny):
    """Eq. 18. Without a floor the others would move 1e-10 of what they move here, or not at all."""
    weights = W.copy()
    weights[3] = tiny
    lowest = 0.1 * root_mean_square(weights)
    expected = 50 / np.sum(np.abs(G) / np.maximum(np.abs(weights), lowest))
    assert radius(G, weights, floor=0.1) == pytest.approx(expected, rel=1e-6)
    assert expected > 0.25 * radius(G, W)
    if tiny:
        assert radius(G, weights, floor=0.0) < 1e-9 * expected


def test_the_floor_bounds_the_radius_from_below():
    """Whatever the weights: by the floor times their root mean square over the mean gradient."""
    for zeros in (0, 10, 49):
        weights = np.where(np.arange(50) < zeros, 0.0, W)
        least = 0.1 * root_mean_square(weights) / np.abs(G).mean()
        assert radius(G, weights, floor=0.1) >= least * (1 - 1e-6)


def test_gradients_that_are_nearly_all_zero_give_a_bounded_step():
    """Eq. 19: the only weight with a gradient moves by n times the rate of itself, and no further."""
    gradient = np.zeros(50)
    gradient[7] = 1e-20
    step = one_step(gradient, W, 0.01)
    assert step[7] == pytest.approx(0.01 * 50 * abs(W[7]), rel=1e-6)
    assert np.count_nonzero(step) == 1


@pytest.mark.parametrize("floor", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_layer_of_zeros_has_the_radius_one(floor, dtype):
    arguments = {"floor": floor, "dtype": dtype}
    np.testing.assert_allclose(one_step(G, 0 * W, 0.1, **arguments), 0.1 * G, rtol=1e-6)
    assert not one_step(0 * G, W, **arguments).any()
    assert not one_step(0 * G, 0 * W, **arguments).any()


def test_a_layer_without_gradient_decays_by_the_learning_rate():
    np.testing.assert_allclose(one_step(0 * G, W, 0.01, weight_decay=0.1), 0.01 * W, rtol=1e-6)


# Bounds and arguments.


def test_bounds_hold_and_are_counted():
    layers = [tf.Variable(scale * W, name=f"layer_{scale}/kernel") for scale in (0.01, 1.0, 100.0)]
    before = [layer.numpy() for layer in layers]
    optimizer = PercentDelta(0.1, momentum=0.0, ratio_bounds=(0.1, 20.0))
    optimizer.apply_gradients([(tf.constant(G), layer) for layer in layers])
    assert optimizer.bound_counts() == (2, 3)
    for layer, start, expected in zip(layers, before, (0.1, radius(G, W), 20.0)):
        np.testing.assert_allclose(start - layer.numpy(), 0.1 * expected * G, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("learning_rate", value) for value in (-0.1, math.nan)),
        *(("floor", value) for value in (1.0, -0.1, math.nan)),
        *(("momentum", value) for value in (1.0, -0.1)),
        *(("weight_decay", value) for value in (-1e-4, math.nan)),
        *(("ratio_bounds", value) for value in ((2.0, 1.0), (-1.0, 1.0), (1.0,))),
        ("exclude_from_weight_decay", "bias"),
    ],
)
def test_a_wrong_argument_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}"):
        PercentDelta(**{name: value})
    assert name in PercentDelta().get_config()
