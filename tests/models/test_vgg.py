"""VGG-16 against the counts of the implementations it follows, and its forward pass written in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.models.vgg import vgg16

TINY = {"input_shape": (8, 8, 3), "blocks": (1, 2), "widths": (4, 5), "classes": 3}


def _parameters(**options):
    """The model is built as users build theirs: in a `tf.Graph` it would turn Keras's classes into TensorFlow 1's."""
    return sum(int(np.prod(v.shape)) for v in vgg16(**options).trainable_variables)


def _convolutions(extra):
    """Configuration D of the paper's table 1, with `extra` numbers a channel besides the kernels."""
    channels = [3, 64, 64, 128, 128, *3 * [256], *6 * [512]]
    return sum(
        (9 * entering + extra) * leaving for entering, leaving in zip(channels, channels[1:])
    )


def test_parameter_counts_are_those_of_the_implementations_it_follows():
    """Lists of pytorch-cifar's networks have 14,728,266; convNet.pytorch's is that with three dense layers."""
    assert _parameters() == _convolutions(3) + 513 * 10 == 14_728_266
    dense = 513 * 4096 + 4097 * 4096 + 4097 * 10
    assert _parameters(units=(4096, 4096), dropout=0.5) == _convolutions(3) + dense == 33_646_666


def test_imagenets_original_can_be_had():
    """138,357,544 in torchvision's documentation and in Keras's `VGG16`; 138M in the paper's table 2."""
    original = {
        "input_shape": (224, 224, 3), "classes": 1000, "units": (4096, 4096), "batch_norm": False,
    }  # fmt: skip
    dense = (512 * 49 + 1) * 4096 + 4097 * 4096 + 4097 * 1000
    assert _parameters(**original) == _convolutions(1) + dense == 138_357_544


def test_stages_halve_the_image():
    model = vgg16()
    shapes = [model.get_layer(f"stage{n}_pool").output.shape[1:].as_list() for n in range(1, 6)]
    layers = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.Conv2D)]
    assert shapes == [[16, 16, 64], [8, 8, 128], [4, 4, 256], [2, 2, 512], [1, 1, 512]]
    assert len(layers) == 13


@pytest.mark.parametrize("batch_norm", [True, False])
def test_it_equals_plain_arithmetic(batch_norm):
    model = vgg16(**TINY, units=(6,), dropout=0.5, batch_norm=batch_norm)
    random = np.random.default_rng(0)
    for layer in model.layers:  # as after some training: a scale, a shift, statistics
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.set_weights(
                [
                    random.normal(size=w.shape) ** (2 if "var" in w.name else 1)
                    for w in layer.weights
                ]
            )
    x = images = random.normal(size=(2, 8, 8, 3)).astype("float32")
    for name in ("stage1_conv1", "stage2_conv1", "stage2_conv2"):
        kernel, bias = model.get_layer(name).get_weights()
        side, padded = x.shape[1], np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
        x = bias + sum(
            padded[:, i : i + side, j : j + side] @ kernel[i, j] for i in range(3) for j in range(3)
        )
        if batch_norm:
            layer = model.get_layer(name.replace("conv", "bn"))
            gamma, beta, mean, variance = layer.get_weights()
            x = (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
        x = np.maximum(x, 0)
        if name != "stage2_conv1":
            x = x.reshape(2, side // 2, 2, side // 2, 2, -1).max(axis=(2, 4))
    kernel, bias = model.get_layer("dense1").get_weights()
    x = np.maximum(x.reshape(2, -1) @ kernel + bias, 0)
    kernel, bias = model.get_layer("logits").get_weights()
    expected = x @ kernel + bias
    np.testing.assert_allclose(
        model(images), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )


def test_dropout_stands_after_each_hidden_dense_layer():
    model = vgg16(**TINY, units=(6, 5), dropout=0.3)
    layers = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.Dropout)]
    assert [layer.rate for layer in layers] == [0.3, 0.3]
    assert [layer.input for layer in layers] == [
        model.get_layer(name).output for name in ("dense1", "dense2")
    ]


def test_layers_start_as_pytorchs_or_as_chosen():
    tf.keras.utils.set_random_seed(0)
    kernel, bias = vgg16(widths=(40,) * 5).get_layer("stage2_conv2").get_weights()
    assert 0.99 < np.abs(kernel).max() * np.sqrt(360) <= 1.0001
    assert 0.8 < np.abs(bias).max() * np.sqrt(360) <= 1.0001
    model = vgg16(**TINY, units=(200,), initialisation="he_normal")
    assert np.std(model.get_layer("dense1").kernel) == pytest.approx(np.sqrt(2 / 20), rel=0.05)


def test_options_reach_every_layer():
    model = vgg16(
        **TINY, units=(6,), weight_decay=0.2, bn_momentum=0.8, bn_epsilon=1e-4, ghost_batch_size=4
    )
    layers = [
        layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    assert {type(layer) for layer in layers} == {GhostBatchNormalization}
    assert [(layer.ghost_size, layer.momentum, layer.epsilon) for layer in layers] == [
        (4, 0.8, 1e-4)
    ] * 3
    kernels = [v for v in model.trainable_variables if "kernel" in v.name]
    assert len(kernels) == len(model.losses) == 5
    expected = 0.1 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_wrong_options_are_told():
    with pytest.raises(ValueError, match=r"^blocks=\(1, 2\) must have a number for each of widths"):
        vgg16(blocks=(1, 2))
    with pytest.raises(ValueError, match=r"^input_shape=\(31, 32, 3\) must be at least 32 pixels"):
        vgg16(input_shape=(31, 32, 3))
    with pytest.raises(ValueError, match="^dropout=1 must be at least 0 and less than 1"):
        vgg16(dropout=1)
    with pytest.raises(
        ValueError, match="^ghost_batch_size=4 needs BatchNormalization layers.*batch_norm=True"
    ):
        vgg16(batch_norm=False, ghost_batch_size=4)
