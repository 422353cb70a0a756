"""Losses at displaced weights against Keras's own evaluation; cuts against the eigenvalue; nothing is left changed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.curvature import eigenvector_cut, filter_normalised, landscape, losses_at

K = tf.keras
RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 4)).astype("float32")
Y = RNG.integers(0, 3, 24)


@pytest.fixture(scope="module")
def model():
    """A network with BatchNorm and dropout, whose statistics are off their start."""
    K.utils.set_random_seed(0)
    layers = [K.layers.Dense(5, "tanh"), K.layers.BatchNormalization(), K.layers.Dropout(0.5)]
    model = K.Sequential([K.Input([4]), *layers, K.layers.Dense(3)])
    loss = K.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(K.optimizers.SGD(0.1), loss, run_eagerly=True)
    model.fit(X, Y, epochs=3, verbose=0)
    return model


def directions(model, count=2):
    return [[RNG.normal(size=v.shape) for v in model.trainable_variables] for _ in range(count)]


def test_a_plane_is_what_keras_evaluates(model):
    first, second = directions(model)
    points = np.array([[0.0, 0.0], [0.3, -0.2], [1.0, 0.5]])
    before = model.get_weights()
    found = losses_at(model, X, Y, [first, second], points, sub_batch_size=7)
    for value, loss in zip(before, model.get_weights()):
        np.testing.assert_array_equal(value, loss)
    values = [v.numpy() for v in model.trainable_variables]
    for (a, b), loss in zip(points, found):
        for variable, w, d1, d2 in zip(model.trainable_variables, values, first, second):
            variable.assign(w + a * d1 + b * d2)
        assert loss == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)
    model.set_weights(before)


def test_statistics_are_those_of_the_samples_at_each_point(model):
    (direction,) = directions(model, 1)
    before = model.get_weights()
    found = losses_at(model, X, Y, [direction], [[0.5]], batch_norm="re-estimate")
    dense, norm, _, last = model.layers
    (kernel, bias, gamma, beta, kernel2, bias2) = (
        v.numpy() + 0.5 * d for v, d in zip(model.trainable_variables, direction)
    )
    hidden = np.tanh(X @ kernel + bias)
    hidden = gamma * (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + norm.epsilon) + beta
    logits = hidden @ kernel2 + bias2
    lost = np.log(np.exp(logits).sum(1)) - logits[np.arange(24), Y]
    assert found[0] == pytest.approx(lost.mean(), rel=1e-4)
    assert (norm.momentum, model.layers[2].rate) == (0.99, 0.5)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_what_an_exception_leaves_is_what_was(model, monkeypatch):
    before = model.get_weights()

    def fail(*_):
        model.layers[1].moving_mean.assign_add(tf.ones(5))
        raise RuntimeError("no")

    monkeypatch.setattr(landscape, "re_estimate", fail)
    with pytest.raises(RuntimeError, match="no"):
        losses_at(model, X, Y, directions(model, 1), [[1.0]], batch_norm="re-estimate")
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_a_cut_curves_by_the_eigenvalue_and_points_uphill(model):
    cut = eigenvector_cut(model, X, Y, [-0.05, 0.0, 0.05], tolerance=1e-3)
    low, middle, high = cut.losses
    assert (high - 2 * middle + low) / 0.05**2 == pytest.approx(cut.eigenvalue, rel=0.02)
    assert middle == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)
    assert high > low and cut.residual < 0.01 * abs(cut.eigenvalue)


def test_filters_keep_their_lengths():
    shapes = {
        "kernel": (3, 3, 2, 4),
        "dense": (5, 2),
        "depthwise_kernel": (3, 3, 4, 1),
        "bias": (4,),
    }
    variables = [tf.Variable(RNG.normal(size=s), name=n) for n, s in shapes.items()]
    drawn = filter_normalised(variables, seed=1)
    for variable, direction, axes in zip(variables, drawn, ((0, 1, 2), 0, (0, 1))):
        found, wanted = np.linalg.norm(
            np.stack([direction.ravel(), variable.numpy().ravel()]), axis=1
        )
        assert found == pytest.approx(wanted)
        for filters in (direction, variable.numpy()):
            lengths = np.sqrt((filters**2).sum(axes))
            np.testing.assert_allclose(
                lengths, np.sqrt((variable.numpy() ** 2).sum(axes)), rtol=1e-6
            )
    assert not drawn[3].any()
    np.testing.assert_array_equal(drawn[0], filter_normalised(variables, seed=1)[0])


def test_what_does_not_fit_is_named(model):
    (direction,) = directions(model, 1)
    with pytest.raises(ValueError, match=r"^coordinates have shape \(2,\): give \[points, 1\]"):
        losses_at(model, X, Y, [direction], [0.0, 1.0])
    with pytest.raises(ValueError, match="^directions has shapes"):
        losses_at(model, X, Y, [direction[:-1]], [[0.0]])
    with pytest.raises(ValueError, match="^batch_norm='frozen'"):
        losses_at(model, X, Y, [direction], [[0.0]], batch_norm="frozen")
    layers = [
        K.layers.Lambda(lambda v: v + tf.random.normal([]), name="noisy"),
        K.layers.BatchNormalization(),
    ]
    noisy = K.Sequential([K.Input([4]), *layers, K.layers.Dense(3)])
    noisy.compile(loss=model.loss)
    with pytest.raises(ValueError, match="a layer draws random numbers in training"):
        losses_at(
            noisy,
            X,
            Y,
            [noisy.get_weights()[:2] + noisy.get_weights()[4:]],
            [[0.0]],
            batch_norm="re-estimate",
        )
