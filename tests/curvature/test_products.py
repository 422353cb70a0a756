"""Closed form, exact and difference products of one dense layer against each other."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.curvature.dense_softmax import dense_softmax_product
from tflbt.curvature.products import (
    central_difference,
    gradient,
    hessian_product,
    input_squares,
    linearised,
    linearised_by_tape,
    step_length,
)


def layer(sharpness, scale, weighted):
    """Make features of a given length and weights whose logits have a given spread."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((200, 12)), 0) * scale
    kernel = rng.standard_normal((12, 5))
    kernel *= sharpness / np.std(x @ kernel)
    y = (x @ kernel).argmax(1)
    weight = rng.random(200) if weighted else None
    direction = rng.standard_normal((12, 5)), rng.standard_normal(5)
    length = np.sqrt(sum((part**2).sum() for part in direction))
    return x, kernel, y, weight, tuple(part / length for part in direction)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sharpness", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0])
def test_three_ways_agree(sharpness, scale, weighted):
    x, kernel, y, weight, direction = layer(sharpness, scale, weighted)
    closed = dense_softmax_product(x, kernel, np.zeros(5), direction, weight)
    w, b = tf.Variable(kernel, dtype=tf.float32), tf.Variable(np.zeros(5, "float32"))
    features = tf.constant(x, tf.float32)
    vector = [tf.constant(part, tf.float32) for part in direction]

    def loss():
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(y, features @ w + b)
        return tf.reduce_mean(each if weight is None else each * tf.cast(weight, tf.float32))

    exact = hessian_product(loss, [w, b], vector)
    step = step_length(0.02, *input_squares([features], [w, b], tf.float32))
    values = [tf.identity(w), tf.identity(b)]
    difference = central_difference(lambda: gradient(loss, [w, b]), [w, b], values, vector, step)
    size = np.sqrt(sum((part**2).sum() for part in closed))
    for ours, bound in ((exact, 2e-5), (difference, 5e-3)):
        error = np.sqrt(sum(((np.asarray(a) - b) ** 2).sum() for a, b in zip(ours, closed)))
        assert error <= bound * size


def test_bias_counts_as_a_feature_of_one():
    x, kernel, _, _, direction = layer(1.0, 1.0, False)
    with_ones = np.concatenate([x, np.ones((len(x), 1))], 1)
    joined = np.concatenate([direction[0], direction[1][None]])
    whole = dense_softmax_product(
        with_ones, np.concatenate([kernel, np.zeros((1, 5))]), np.zeros(5), (joined, np.zeros(5))
    )[0]
    apart = dense_softmax_product(x, kernel, np.zeros(5), direction)
    np.testing.assert_allclose(whole, np.concatenate([apart[0], apart[1][None]]), rtol=1e-12)


def test_squares_add_up_and_count_positions():
    image, kernel = tf.ones([2, 4, 4, 3]), tf.Variable(tf.zeros([3, 3, 3, 8]))
    squares, units = input_squares([image], [kernel], tf.float32)
    assert (float(squares), float(units)) == (9 * 2 * 16 * 3, 2 * 16)
    nothing = input_squares([tf.constant([[1, 2]])], [kernel], tf.float32)
    assert float(step_length(0.02, *nothing)) == pytest.approx(0.02)
    assert float(step_length(0.05, tf.constant(240.0), tf.constant(10.0))) == pytest.approx(0.01)


@pytest.mark.parametrize("way", [linearised, linearised_by_tape])
def test_one_run_gives_as_many_products_as_wanted(way):
    """Of a table that is read in places, in a loop, and of a weight that the loss does not read."""
    rng = np.random.default_rng(0)
    table, kernel, unread = (
        tf.Variable(rng.standard_normal(shape)) for shape in [(7, 4), (4, 4), (3,)]
    )
    variables = [unread, table, kernel]

    def loss(rows, y):
        state = tf.gather(table, rows)
        for _ in tf.range(2):
            state = tf.tanh(state @ kernel)
        return tf.reduce_sum((state - y) ** 2)

    loss = tf.function(loss)
    specs = [tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 4], tf.float64)]
    slopes = tf.function(
        lambda rows, y: gradient(lambda: loss(rows, y), variables), input_signature=specs
    )
    batch = [tf.constant([1, 4, 1], tf.int64), tf.constant(rng.standard_normal((3, 4)))]
    product = way(slopes, variables, batch)
    for _ in range(2):
        vector = [tf.constant(rng.standard_normal(variable.shape)) for variable in variables]
        expected = hessian_product(lambda: loss(*batch), variables, vector)
        for ours, theirs in zip(product(vector), expected, strict=True):
            np.testing.assert_allclose(ours, tf.convert_to_tensor(theirs), rtol=1e-12)
    assert not np.any(product(vector)[0]) and np.any(product(vector)[1])
