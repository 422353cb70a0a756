"""Tests of CurvatureRadius alone: the exact second derivative of parabolas, floors, skipped steps, a noisy training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from sklearn import datasets

from tflbt.optimizers import CurvatureRadius

RANDOM = np.random.default_rng(0)
# Parabolas h (w - a)^2 / 2, one for each weight; one of them opens downwards.
H = np.array([0.05, 0.4, -1.5, 8.0])
A = np.array([0.3, -1.0, 2.0, 0.0])
START = np.array([0.5, 0.7, 1.1, -0.2])


def radii(optimizer, path, decay=0.0):
    """R along a path of weights, whatever led them there."""
    variable = tf.Variable(path[0], name="kernel")
    optimizer.build([variable])
    for weights in path:
        variable.assign(weights)
        yield optimizer.radius(variable, tf.constant(H * (weights - A)), decay).numpy()


def radius_of(slope, second_derivative):
    """Eq. 9, with a slope of at most 1."""
    return (1 + np.minimum(np.abs(slope), 1) ** 2) ** 1.5 / np.abs(second_derivative)


def floored(values, floor):
    return np.maximum(np.abs(values), floor * np.sqrt(np.mean(np.square(values))))


# Eqs. 9-11 and 16.


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("beta", [0.1, 0.5, 0.95])
def test_the_second_derivative_of_parabolas_is_exact_from_the_second_update_on(beta, decay):
    path = START + np.cumsum(RANDOM.normal(size=(20, 4)), axis=0)
    first, *later = radii(CurvatureRadius(beta=beta, floor=0.0), path, decay)
    slopes = H * (path - A) + decay * path
    with_minimum_at_0 = radius_of(slopes[0], slopes[0] / path[0])  # eq. 16, b = 0
    np.testing.assert_allclose(first, with_minimum_at_0, rtol=1e-6)
    for slope, actual in zip(slopes[1:], later):
        np.testing.assert_allclose(actual, radius_of(slope, H + decay), rtol=1e-6)
    steep = np.abs(slopes) > 1
    assert steep.any() and not steep.all()  # the cap on slopes is seen, and so are slopes


def test_steps_are_the_learning_rate_times_eq_11():
    """With a rate that changes, and momentum, which the estimate does not mind."""
    w = tf.Variable(START, name="kernel")
    optimizer = CurvatureRadius(0.0, momentum=0.5, floor=0.0)
    weights, buffer = START, 0.0
    for number, rate in enumerate((1 / 8, 1 / 4, 1 / 16, 1 / 16)):  # exact in float32
        optimizer.learning_rate = rate
        slope = H * (weights - A)
        second = H if number else slope / weights
        buffer = 0.5 * buffer + rate * radius_of(slope, second) * slope
        weights = weights - buffer
        optimizer.apply_gradients([(tf.constant(H * (w.numpy() - A)), w)])
        np.testing.assert_allclose(w.numpy(), weights, rtol=1e-9)


def test_half_of_newtons_step_halves_the_distance_to_every_minimum():
    """Curvatures 1,000 times apart, minima that are not at 0; slopes so small that 1 + g^2 is 1."""
    minimum, stiffness = np.array([1e-3, -2e-3, 3e-3]), np.array([0.01, 1.0, 10.0])
    w = tf.Variable(2.5 * minimum, name="kernel")
    optimizer = CurvatureRadius(0.5, momentum=0.0, floor=0.0)
    distances = []
    for _ in range(8):
        optimizer.apply_gradients([(tf.constant(stiffness) * (w - minimum), w)])
        distances.append(w.numpy() - minimum)
    np.testing.assert_allclose(np.divide(distances[1:], distances[:-1]), 0.5, rtol=2e-3)


def test_approximate_is_eq_17():
    """No 1 + g^2, and no slots."""
    gradient = np.array([0.5, -3.0, 0.1, 2.0])
    w = tf.Variable(START, name="kernel")
    optimizer = CurvatureRadius(1 / 64, momentum=0.0, method="approximate", floor=0.0)
    for _ in range(3):
        before = w.numpy()
        optimizer.apply_gradients([(tf.constant(gradient), w)])
        expected = 1 / 64 * np.abs(before / gradient) * gradient
        np.testing.assert_allclose(before - w.numpy(), expected, rtol=1e-12)
    assert [variable.name for variable in optimizer.variables] == ["iteration:0"]


# Eqs. 18 and 19.


def test_no_weight_and_no_gradient_counts_as_less_than_the_floor():
    weights, gradient = np.array([1e-9, 2.0, -0.1, 1.0]), np.array([1.0, 0.0, 0.5, -1e-9])
    w = tf.Variable(weights, name="kernel")
    optimizer = CurvatureRadius(method="approximate", floor=0.3)
    optimizer.build([w])
    actual = optimizer.radius(w, tf.constant(gradient), 0.0).numpy()
    np.testing.assert_allclose(actual, floored(weights, 0.3) / floored(gradient, 0.3), rtol=1e-6)


def test_deviations_have_the_same_floor():
    """One weight stands still though its gradient changes, another's gradient is always the same."""
    moves, turns = np.array([0.0, 1.0, 0.5, -0.5]), np.array([1.0, 0.0, 2.0, -0.5])
    w = tf.Variable(START, name="kernel")
    optimizer = CurvatureRadius(floor=0.2)
    optimizer.build([w])
    gradient = np.full(4, 0.1)
    optimizer.radius(w, tf.constant(gradient), 0.0)
    w.assign_add(moves)
    actual = optimizer.radius(w, tf.constant(gradient + turns), 0.0).numpy()
    steepness = radius_of(gradient + turns, 1.0)
    expected = steepness * floored(moves, 0.2) / floored(turns, 0.2)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["secant", "approximate"])
def test_a_layer_of_zeros_has_the_radius_one(method):
    gradient, w = np.array([0.3, -0.4]), tf.Variable(np.zeros(2), name="bias")
    CurvatureRadius(0.1, method=method).apply_gradients([(tf.constant(gradient), w)])
    np.testing.assert_allclose(w.numpy(), -0.1 * gradient)


def test_until_a_layer_has_moved_its_radius_is_that_of_the_first_update():
    """A warm-up may begin at a rate of 0: deviations of weights that stand still say nothing."""
    still = [START] * 3
    for actual in radii(CurvatureRadius(floor=0.0), still):
        slope = H * (START - A)
        np.testing.assert_allclose(actual, radius_of(slope, slope / START), rtol=1e-6)


# Bounds, loss scales, noise.


def test_bounds_hold_for_each_weight_and_are_counted_by_weights():
    layers = [tf.Variable(np.array([0.1, 1.0, 10.0])), tf.Variable(np.array([1.0, 50.0]))]
    before = [layer.numpy() for layer in layers]
    optimizer = CurvatureRadius(
        0.1, momentum=0.0, method="approximate", floor=0.0, ratio_bounds=(0.5, 5.0)
    )
    assert optimizer.bound_counts() is None
    optimizer.apply_gradients([(tf.ones_like(layer), layer) for layer in layers])
    assert optimizer.bound_counts() == (3, 5)
    assert float(optimizer.bounded_share) == pytest.approx(3 / 5)
    for layer, start, expected in zip(layers, before, ([0.5, 1.0, 5.0], [1.0, 5.0])):
        np.testing.assert_allclose(start - layer.numpy(), 0.1 * np.array(expected))
    optimizer.apply_gradients([(tf.ones_like(layer), layer) for layer in layers])
    assert optimizer.bound_counts()[1] == 10


def test_updates_that_a_loss_scale_skips_leave_no_trace():
    """Keras counts them in `iterations`; running means that went by that would be of something else."""
    steps = RANDOM.normal(size=(4, 4)).astype("float32")
    plain, scaled = (tf.Variable(START.astype("float32"), name="kernel") for _ in range(2))
    optimizer = CurvatureRadius(0.1)
    wrapped = tf.keras.mixed_precision.LossScaleOptimizer(CurvatureRadius(0.1), initial_scale=8)
    for number, gradient in enumerate(steps):
        optimizer.apply_gradients([(tf.constant(gradient), plain)])
        for value in (gradient, np.full(4, np.inf)) if number % 2 else (gradient,):
            wrapped.get_scaled_loss(tf.constant(1.0))  # or it warns that nobody called this
            scale = float(wrapped.loss_scale)
            gradients = wrapped.get_unscaled_gradients([tf.constant(scale * value, tf.float32)])
            wrapped.apply_gradients(zip(gradients, [scaled]))
    np.testing.assert_array_equal(scaled.numpy(), plain.numpy())
    assert float(wrapped.loss_scale) == 2  # it did skip two


@pytest.mark.parametrize("seed", [0, 1])
def test_small_noisy_batches_train(seed):
    """Logistic regression on the digits, by defaults: estimates from successive gradients came to 32% and less."""
    digits, random = datasets.load_digits(), np.random.default_rng(seed)
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = (digits.data[order] / 16).astype("float32"), digits.target[order]
    train, test = np.arange(1408), np.arange(1408, len(y))
    w = tf.Variable(0.1 * random.normal(size=(64, 10)).astype("float32"), name="kernel")
    b = tf.Variable(tf.zeros(10), name="bias")
    optimizer = CurvatureRadius()
    optimizer.build([w, b])

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, x @ w + b)
            loss = tf.reduce_mean(losses)
        optimizer.apply_gradients(zip(tape.gradient(loss, [w, b]), [w, b]))

    def accuracy():
        return np.mean(np.argmax(x[test] @ w.numpy() + b.numpy(), axis=1) == y[test])

    assert accuracy() < 0.3
    for _ in range(8):
        for batch in np.split(random.permutation(train), 22):
            step(tf.constant(x[batch]), tf.constant(y[batch]))
    assert accuracy() > 0.9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "x"),
        *(("beta", value) for value in (1.0, 0.0, -0.1, math.nan)),
        *(("floor", value) for value in (1.0, -0.1, math.nan)),
        *(("learning_rate", value) for value in (-0.1, math.nan)),
        *(("momentum", value) for value in (1.0, -0.1)),
        ("weight_decay", -1e-4),
        *(("ratio_bounds", value) for value in ((2.0, 1.0), (1.0,))),
    ],
)
def test_a_wrong_argument_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}"):
        CurvatureRadius(**{name: value})
    assert name in CurvatureRadius().get_config()
