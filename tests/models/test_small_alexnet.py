"""The AlexNet-like network against its authors' layer list, and their forward pass written in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.models.small_alexnet import small_alexnet


def _parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def test_parameter_count_is_that_of_the_authors_layers():
    """HessianFlow's models/c1.py: two convolutions with normalisation, 64 * 8 * 8 inputs, 384, 192, 10."""
    by_layer = [
        25 * 3 * 64 + 64, 2 * 64, 25 * 64 * 64 + 64, 2 * 64,
        64 * 8 * 8 * 384 + 384, 384 * 192 + 192, 192 * 10 + 10,
    ]  # fmt: skip
    model = small_alexnet()
    assert _parameters(model) == sum(by_layer) == 1_756_682
    sizes = [model.get_layer(name).output.shape[1] for name in ("pool1", "pool2", "flatten")]
    assert sizes == [16, 8, 4096]


def _convolved(x, kernel, bias):
    """A 5x5 convolution that pads two zeros on each side."""
    padded = np.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)])
    side = x.shape[1]
    return bias + sum(
        padded[:, i : i + side, j : j + side] @ kernel[i, j] for i in range(5) for j in range(5)
    )


def _pooled(x):
    """PyTorch's ``max_pool2d(x, 3, 2, 1)``: one pixel of minus infinity on each side."""
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    side = x.shape[1]
    parts = [padded[:, i : i + side : 2, j : j + side : 2] for i in range(3) for j in range(3)]
    return np.max(parts, axis=0)


def test_it_is_the_authors_network_of_images_turned_by_180_degrees():
    """ReLU before normalisation, pooling last; their padding begins a pixel earlier than TensorFlow's."""
    model = small_alexnet(input_shape=(8, 8, 3), filters=(4, 5), units=(7, 6))
    for number in (1, 2):  # as after some training: a scale, a shift (below 0 too), statistics
        random = np.random.default_rng(number)
        layer = model.get_layer(f"bn{number}")
        layer.set_weights(
            [random.normal(size=w.shape) ** (2 if "var" in w.name else 1) for w in layer.weights]
        )
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    x = images[:, ::-1, ::-1]
    for number in (1, 2):
        kernel, bias = model.get_layer(f"conv{number}").get_weights()
        x = np.maximum(_convolved(x, kernel[::-1, ::-1], bias), 0)
        gamma, beta, mean, variance = model.get_layer(f"bn{number}").get_weights()
        x = _pooled((x - mean) / np.sqrt(variance + 1e-5) * gamma + beta)
    x = x[:, ::-1, ::-1].reshape(2, -1)
    for name in ("dense1", "dense2"):
        kernel, bias = model.get_layer(name).get_weights()
        x = np.maximum(x @ kernel + bias, 0)
    kernel, bias = model.get_layer("logits").get_weights()
    expected = x @ kernel + bias
    np.testing.assert_allclose(
        model(images), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
    )


def test_options_reach_every_layer():
    model = small_alexnet(
        input_shape=(8, 8, 3), filters=(4, 4), units=(8,),
        weight_decay=0.2, bn_momentum=0.8, bn_epsilon=1e-4, ghost_batch_size=4,
    )  # fmt: skip
    layers = [
        layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    assert {type(layer) for layer in layers} == {GhostBatchNormalization}
    assert [(layer.ghost_size, layer.momentum, layer.epsilon) for layer in layers] == [
        (4, 0.8, 1e-4)
    ] * 2
    kernels = [v for v in model.trainable_variables if "kernel" in v.name]
    assert len(kernels) == len(model.losses) == 4
    expected = 0.1 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)
