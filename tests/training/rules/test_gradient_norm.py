"""The mean length of an epoch's gradients, with and without weight regularisers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import GradientNorm, LargeBatchModel

K = tf.keras


def test_it_is_of_the_updates_gradient_before_clipping(samples):
    """Updates of 16 and 14 samples at the weights of the start, as nothing moves."""
    inputs = K.Input([5])
    unit = K.layers.Dense(
        1, use_bias=False, kernel_initializer="ones", kernel_regularizer=K.regularizers.L2(0.3)
    )
    model = LargeBatchModel(inputs, unit(inputs))
    inner = K.optimizers.SGD(0.0, global_clipnorm=1e-3)
    scaled = K.mixed_precision.LossScaleOptimizer(inner, dynamic=False, initial_scale=64)
    model.compile(scaled, "mse", run_eagerly=True)
    x, y = samples[0], samples[1][:, :1]
    options = {"batch_size": 16, "sub_batch_size": 4, "verbose": 0}
    parts = (slice(16), slice(16, 30))
    for regularization in (False, True):
        rule = GradientNorm(regularization)
        model.fit(x, y, **options, shuffle=False, epochs=2, rules=[rule])
        of_data = [2 * x[p].T @ (x[p].sum(1) - y[p, 0]) / len(x[p]) for p in parts]
        wanted = np.mean([np.linalg.norm(mean + 0.6 * regularization) for mean in of_data])
        assert rule.columns(1) == {"gradient_norm": pytest.approx(wanted, rel=1e-5)}
    model.fit(x * np.inf, y, **options, rules=[rule])
    assert rule.columns(0) == {"gradient_norm": None}
