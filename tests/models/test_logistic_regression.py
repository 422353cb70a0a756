"""Logistic regression against its gradient in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.logistic_regression import logistic_regression

LOSS = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _problem(features=5, samples=8, classes=3):
    random = np.random.default_rng(0)
    return random.normal(size=(samples, features)).astype("float32"), np.arange(samples) % classes


def test_the_default_takes_a_mushroom_and_starts_at_zero():
    model = logistic_regression()
    assert model.input_shape == (None, 1, 1, 126) and model.output_shape == (None, 2)
    assert model.count_params() == 2 * 126 + 2
    assert not any(np.any(weight) for weight in model.get_weights())


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3)])
def test_samples_of_any_shape_are_flattened(shape):
    model = logistic_regression(input_shape=shape, initial_weights="glorot_uniform")
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    kernel, bias = model.get_weights()
    assert np.any(kernel) and np.abs(kernel).max() <= np.sqrt(6 / (6 + 2))
    np.testing.assert_allclose(model(x), x.reshape(4, 6) @ kernel + bias, rtol=1e-5, atol=1e-6)


def test_one_update_is_numpys():
    x, y = _problem()
    model = logistic_regression(
        input_shape=(5,), classes=3, initial_weights="glorot_uniform", weight_decay=0.1
    )
    kernel, bias = model.get_weights()
    exponentials = np.exp(x @ kernel + bias)
    error = (exponentials / exponentials.sum(1, keepdims=True) - np.eye(3)[y]) / len(x)
    model.compile(tf.keras.optimizers.SGD(0.5), LOSS)
    model.train_on_batch(x, y)
    after = model.get_weights()
    np.testing.assert_allclose(after[0], kernel - 0.5 * (x.T @ error + 0.1 * kernel), atol=1e-6)
    np.testing.assert_allclose(after[1], bias - 0.5 * error.sum(0), atol=1e-6)


def test_two_logits_move_as_one_does_with_twice_the_rate():
    """What the documentation says of the paper's rate: the difference of the two is the one logit."""
    x, y = _problem(classes=2)
    model = logistic_regression(input_shape=(5,))
    model.compile(tf.keras.optimizers.SGD(0.3), LOSS)
    w, b = np.zeros(5), 0.0
    for _ in range(5):
        model.train_on_batch(x, y)
        error = (1 / (1 + np.exp(-(x @ w + b))) - y) / len(x)
        w, b = w - 0.6 * x.T @ error, b - 0.6 * error.sum()
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(kernel[:, 1] - kernel[:, 0], w, atol=1e-6)
    assert bias[1] - bias[0] == pytest.approx(b, abs=1e-6)


def test_samples_stay_float32_under_mixed_precision():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = logistic_regression(input_shape=(1,), initial_weights="glorot_uniform")
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    x = np.float32([[1 + 2**-12]])  # bfloat16 would round it to 1
    np.testing.assert_array_equal(model(x), x @ model.get_weights()[0])


def test_wrong_initial_weights_are_told():
    with pytest.raises(ValueError, match="^initial_weights='ones' must be one of 'zeros', 'glorot"):
        logistic_regression(initial_weights="ones")
