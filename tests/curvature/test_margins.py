"""Margins of inputs: exact distances of a linear network, slopes of a deep one by differences, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.curvature import input_margins

K = tf.keras
RNG = np.random.default_rng(0)
X = RNG.normal(size=(23, 4)).astype("float32")
Y = RNG.integers(0, 3, 23)
DEVIATION = np.sqrt(((X - X.mean(0)) ** 2).sum(1).mean())


def test_a_linear_network_has_the_exact_distance():
    K.utils.set_random_seed(0)
    model = K.Sequential([K.layers.Dense(3, input_shape=(4,))])
    kernel, bias = model.get_weights()
    logits = X @ kernel + bias
    wanted = []
    for row, label in zip(logits, Y):
        other = max((k for k in range(3) if k != label), key=lambda k: row[k])
        distance = np.linalg.norm(kernel[:, label] - kernel[:, other])
        wanted.append((row[label] - row[other]) / distance / DEVIATION)
    np.testing.assert_allclose(input_margins(model, X, Y, sub_batch_size=8), wanted, rtol=1e-5)


def test_a_deep_network_with_batch_norm_is_measured_in_inference():
    K.utils.set_random_seed(0)
    layers = [K.layers.Dense(5, "tanh"), K.layers.BatchNormalization(), K.layers.Dense(3)]
    model = K.Sequential([K.Input([4]), *layers])
    model.set_weights([w + 0.1 * RNG.normal(size=w.shape) ** 2 for w in model.get_weights()])

    first, bias, gamma, beta, mean, variance, last, last_bias = model.get_weights()
    hidden = np.tanh(X @ first + bias)
    scale = gamma / np.sqrt(variance + layers[1].epsilon)
    logits = ((hidden - mean) * scale + beta) @ last + last_bias
    wanted = []
    for z, h, label in zip(logits, hidden, Y):
        other = max((k for k in range(3) if k != label), key=lambda k: z[k])
        slope = first @ ((1 - h**2) * scale * (last[:, label] - last[:, other]))
        wanted.append((z[label] - z[other]) / np.sqrt(1e-6 + slope @ slope) / DEVIATION)
    np.testing.assert_allclose(input_margins(model, X, Y), wanted, rtol=1e-4, atol=1e-5)


def test_one_logit_is_that_against_zero():
    model = K.Sequential([K.layers.Dense(1, input_shape=(4,))])
    kernel, bias = model.get_weights()
    logits = (X @ kernel + bias)[:, 0] / np.linalg.norm(kernel) / DEVIATION
    labels = Y[:, None] % 2
    wanted = np.where(labels[:, 0], logits, -logits)
    np.testing.assert_allclose(input_margins(model, X, labels), wanted, rtol=1e-5)


def test_what_has_no_margin_is_refused():
    model = K.Sequential([K.layers.Dense(3, input_shape=(4,))])
    for x, y, says in (
        (X.astype(int), Y, "^x holds int64: give floating-point"),
        (X, Y.astype("float32"), "^y holds float32: give integer labels"),
        (X, np.eye(3, dtype=int)[Y], r"^y has shape \(23, 3\)"),
        ([X, X], Y, "^x is a list: give one array"),
    ):
        with pytest.raises(ValueError, match=says):
            input_margins(model, x, y)
    model.compile(loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="takes probabilities: margins are of logits"):
        input_margins(model, X, Y)
    model.compile(loss=K.losses.SparseCategoricalCrossentropy())
    with pytest.raises(ValueError, match="takes probabilities"):
        input_margins(model, X, Y)
