"""Initialisers against the bounds and variances that PyTorch's documentation gives."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.initialisation import initialisers


def test_pytorchs_kernels_and_biases_are_uniform_within_one_over_the_root_of_the_inputs():
    tf.keras.utils.set_random_seed(0)
    layer = tf.keras.layers.Conv2D(400, 3, **initialisers("pytorch", 9 * 4))
    layer.build((None, 8, 8, 4))
    for weights in layer.get_weights():
        assert 0.98 / 6 < np.abs(weights).max() <= 1 / 6
        assert np.abs(weights.mean()) < 4 * weights.std() / np.sqrt(weights.size)
        assert weights.var() == pytest.approx(1 / (3 * 36), rel=0.1)


def test_a_keras_initialiser_leaves_the_bias_at_zero():
    layer = tf.keras.layers.Dense(100, **initialisers("he_normal", 50))
    layer.build((None, 50))
    assert np.std(layer.kernel) == pytest.approx(np.sqrt(2 / 50), rel=0.1)
    assert not np.any(layer.bias)


def test_an_unknown_name_is_told():
    with pytest.raises(ValueError, match="^initialisation='torch' must be \"pytorch\" or one of"):
        initialisers("torch", 3)
