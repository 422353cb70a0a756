"""The losses of single samples, of any model, and the mean loss of some of them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import LargeBatchModel
from tflbt.training.sample_losses import loss_of, sample_losses

K = tf.keras


@pytest.fixture
def model():
    """Two outputs, a regulariser of 0.5 w^2, and a first weight of 1."""
    inputs = K.Input([1])
    unit = K.layers.Dense(
        1, use_bias=False, kernel_initializer="ones", kernel_regularizer=K.regularizers.L2(0.5)
    )
    hidden = unit(inputs)
    model = LargeBatchModel(inputs, [hidden, 2 * hidden])
    model.compile("sgd", ["mse", "mae"], loss_weights=[1.0, 3.0])
    return model


@pytest.mark.parametrize("weighted", [False, True])
def test_against_numpy(model, weighted):
    x = np.array([[1.0], [2.0], [4.0]], np.float32)
    y = [tf.zeros([3, 1]), tf.ones([3, 1])]
    weight = tf.constant([1.0, 0.0, 2.0]) if weighted else None
    by_hand = (x[:, 0] ** 2 + 3 * np.abs(2 * x[:, 0] - 1)) * ([1, 0, 2] if weighted else 1)
    outputs = model(x)
    weights = [weight, weight] if weighted else None
    losses = sample_losses(model, x, y, outputs, weights)
    np.testing.assert_allclose(losses, by_hand, rtol=1e-6)
    chosen = tf.constant([True, False, True])
    loss, number = loss_of(model, x, y, outputs, weights, chosen, [])
    assert float(number) == 2
    assert float(loss) == pytest.approx(by_hand[[0, 2]].mean() + 0.5, rel=1e-6)
    none, number = loss_of(model, x, y, outputs, weights, tf.zeros([3], tf.bool), [])
    assert (float(none), float(number)) == (0.5, 0)
