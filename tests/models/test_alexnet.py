"""AlexNet against torchvision's and convNet.pytorch's layer lists, and their forward pass written in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.alexnet import alexnet
from tflbt.models.ghost_batch_norm import GhostBatchNormalization

TINY = {"filters": (4, 5, 6, 5, 4), "units": (7, 6)}


def _parameters(**options):
    """The model is built as users build theirs: in a `tf.Graph` it would turn Keras's classes into TensorFlow 1's."""
    return sum(int(np.prod(v.shape)) for v in alexnet(**options).trainable_variables)


def _by_layer(first, second, positions, classes, extra):
    """Kernels of the five convolutions and three dense layers, and `extra` numbers for each unit but the logits'."""
    outputs = (64, 192, 384, 256, 256, 4096, 4096)
    inputs = (
        first**2 * 3, second**2 * 64, 9 * 192, 9 * 384, 9 * 256, 256 * positions, 4096,
    )  # fmt: skip
    hidden = [(entering + extra) * leaving for entering, leaving in zip(inputs, outputs)]
    return [*hidden, 4096 * classes + classes]


def test_the_cifar_form_has_the_parameters_of_the_common_adaptation():
    """Others list ``"alexnet": 23272266`` beside pytorch-cifar's counts (``"vgg16": 14728266``)."""
    assert sum(_by_layer(3, 3, 4, 10, 1)) == _parameters() == 23_272_266


def test_the_imagenet_form_has_the_parameters_of_torchvisions():
    """Torchvision's documentation and pytorchcv's tests (`alexnetb`) have 61,100,840."""
    assert sum(_by_layer(11, 5, 36, 1000, 1)) == _parameters(form="imagenet") == 61_100_840


@pytest.mark.parametrize(
    ("form", "sizes", "exact"),
    [("cifar", (3, 3, 4, 10), 23_281_610), ("imagenet", (11, 5, 36, 1000), 61_110_184)],
)
def test_normalisation_has_two_numbers_a_unit_and_takes_the_bias_away(form, sizes, exact):
    assert sum(_by_layer(*sizes, 2)) == _parameters(form=form, batch_norm=True) == exact


def _convolved(x, kernel, stride, padding):
    x = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    side = (x.shape[1] - kernel.shape[0]) // stride + 1
    last = stride * (side - 1) + 1
    return sum(
        x[:, i : i + last : stride, j : j + last : stride] @ kernel[i, j]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    )


def _pooled(x, size):
    side = (x.shape[1] - size) // 2 + 1
    last = 2 * (side - 1) + 1
    parts = [x[:, i : i + last : 2, j : j + last : 2] for i in range(size) for j in range(size)]
    return np.max(parts, axis=0)


def _normalised(x, layer):
    gamma, beta, mean, variance = layer.get_weights()
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def _perturb_normalisations(model):
    """As after some training: a scale, a shift (below 0 too), statistics."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.set_weights(
                [
                    random.normal(size=w.shape) ** (2 if "var" in w.name else 1)
                    for w in layer.weights
                ]
            )


def _relu(x):
    return np.maximum(x, 0)


@pytest.mark.parametrize(
    ("form", "side", "stride", "padding", "pool"),
    [("cifar", 16, 2, 1, 2), ("cifar", 33, 2, 1, 2), ("imagenet", 67, 4, 2, 3)],
)
def test_it_is_the_network_without_normalisation(form, side, stride, padding, pool):
    """Torchvision's order: ReLU before pooling, PyTorch's padding, biases everywhere."""
    model = alexnet(form=form, input_shape=(side, side, 3), classes=3, **TINY)
    x = images = np.random.default_rng(1).normal(size=(2, side, side, 3)).astype("float32")
    for number in (1, 2, 3, 4, 5):
        kernel, bias = model.get_layer(f"conv{number}").get_weights()
        assert np.any(bias)
        first = number == 1
        x = _relu(
            _convolved(x, kernel, stride if first else 1, padding if first else len(kernel) // 2)
            + bias
        )
        x = _pooled(x, pool) if number in (1, 2, 5) else x
    x = x.reshape(2, -1)
    for name in ("dense1", "dense2", "logits"):
        kernel, bias = model.get_layer(name).get_weights()
        x = x @ kernel + bias
        x = x if name == "logits" else _relu(x)
    np.testing.assert_allclose(model(images), x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("form", "side", "stride", "padding", "pool"),
    [("cifar", 16, 2, 1, 2), ("imagenet", 67, 4, 2, 3)],
)
def test_it_is_convnet_pytorchs_network_with_normalisation(form, side, stride, padding, pool):
    """Convolution, pooling, then normalisation before the ReLU in the first and after it in the others."""
    model = alexnet(form=form, input_shape=(side, side, 3), classes=3, batch_norm=True, **TINY)
    _perturb_normalisations(model)
    x = images = np.random.default_rng(1).normal(size=(2, side, side, 3)).astype("float32")
    for number in (1, 2, 3, 4, 5):
        (kernel,) = model.get_layer(f"conv{number}").get_weights()
        first = number == 1
        x = _convolved(x, kernel, stride if first else 1, padding if first else len(kernel) // 2)
        x = _pooled(x, pool) if number in (1, 2, 5) else x
        layer = model.get_layer(f"bn{number}")
        x = _relu(_normalised(x, layer)) if first else _normalised(_relu(x), layer)
    x = x.reshape(2, -1)
    for name in ("dense1", "dense2"):
        (kernel,) = model.get_layer(name).get_weights()
        x = _relu(_normalised(x @ kernel, model.get_layer(f"{name}_bn")))
    kernel, bias = model.get_layer("logits").get_weights()
    expected = x @ kernel + bias
    np.testing.assert_allclose(
        model(images), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )


def test_dropout_stands_before_dense_layers_and_with_normalisation_after_them():
    model = alexnet(input_shape=(16, 16, 3), **TINY)
    layers = [model.get_layer(f"dropout{number}") for number in (1, 2)]
    assert [layer.rate for layer in layers] == [0.5, 0.5]
    for number, layer in enumerate(layers, start=1):
        assert layer.output is model.get_layer(f"dense{number}").input
    model = alexnet(input_shape=(16, 16, 3), batch_norm=True, dropout=0.2, **TINY)
    for number in (1, 2):
        layer = model.get_layer(f"dropout{number}")
        assert layer.rate == 0.2
        assert layer.input is model.get_layer(f"dense{number}_relu").output
    names = [layer.name for layer in alexnet(input_shape=(16, 16, 3), dropout=0, **TINY).layers]
    assert not [name for name in names if "dropout" in name]


def test_the_initialisation_can_be_chosen():
    tf.keras.utils.set_random_seed(0)
    options = {"input_shape": (16, 16, 3), "units": (500,)}
    kernel, bias = alexnet(**options).get_layer("dense1").get_weights()
    assert 0.99 / 16 < np.abs(kernel).max() <= 1 / 16 and 0.9 / 16 < np.abs(bias).max() <= 1 / 16
    model = alexnet(initialisation="he_normal", **options)
    kernel, bias = model.get_layer("dense1").get_weights()
    assert kernel.std() == pytest.approx(np.sqrt(2 / 256), rel=0.02) and not np.any(bias)
    with pytest.raises(ValueError, match="^initialisation='he' must be"):
        alexnet(initialisation="he", **options)


def test_options_reach_every_layer():
    model = alexnet(
        input_shape=(16, 16, 3), batch_norm=True,
        weight_decay=0.2, bn_momentum=0.8, bn_epsilon=1e-4, ghost_batch_size=4, **TINY,
    )  # fmt: skip
    layers = [
        layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    assert {type(layer) for layer in layers} == {GhostBatchNormalization}
    assert [(layer.ghost_size, layer.momentum, layer.epsilon) for layer in layers] == [
        (4, 0.8, 1e-4)
    ] * 7
    kernels = [v for v in model.trainable_variables if "kernel" in v.name]
    assert len(kernels) == len(model.losses) == 8
    expected = 0.1 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_wrong_options_are_told():
    with pytest.raises(ValueError, match="^form='mnist' must be one of 'cifar', 'imagenet'"):
        alexnet(form="mnist")
    with pytest.raises(ValueError, match=r"^filters=\(4, 4\) must be 5 numbers"):
        alexnet(filters=(4, 4))
    with pytest.raises(ValueError, match="^dropout=1 must be at least 0 and less than 1"):
        alexnet(dropout=1)
    with pytest.raises(
        ValueError, match="^ghost_batch_size=4 needs BatchNormalization layers.*batch_norm=True"
    ):
        alexnet(ghost_batch_size=4)


@pytest.mark.parametrize(("form", "least"), [("cifar", 15), ("imagenet", 63)])
def test_the_least_image_leaves_one_position(form, least):
    model = alexnet(form=form, input_shape=(least, least, 3), **TINY)
    assert model.get_layer("flatten").output.shape[1] == 4
    message = rf"^input_shape=\({least}, {least - 1}, 3\) must be at least {least} pixels"
    with pytest.raises(ValueError, match=message):
        alexnet(form=form, input_shape=(least, least - 1, 3), **TINY)
