"""ResNet-50 against the counts of the implementations it follows, and a block computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.models.resnet import resnet50

SMALL = {"stem": "cifar", "blocks": (2, 1), "widths": (4, 8)}


def _parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


@pytest.fixture(scope="module")
def imagenet():
    return resnet50()


@pytest.fixture(scope="module")
def cifar():
    return resnet50(stem="cifar")


def _by_hand(stem_kernel, classes):
    """Kernels and dense layer of He et al.'s table 1, with two more numbers a channel for each normalisation."""

    def convolution(kernel, entering, leaving):
        return kernel**2 * entering * leaving + 2 * leaving

    total = convolution(stem_kernel, 3, 64)
    entering = 64
    for blocks, width in zip((3, 4, 6, 3), (64, 128, 256, 512)):
        total += convolution(1, entering, 4 * width)  # the shortcut of the first block
        for _ in range(blocks):
            total += convolution(1, entering, width) + convolution(3, width, width)
            total += convolution(1, width, 4 * width)
            entering = 4 * width
    return total + entering * classes + classes


def test_parameter_counts_are_torchvisions_and_pytorch_cifars(imagenet, cifar):
    """`sum(p.numel() for p in m.parameters())` of torchvision's resnet50() and of kuangliu's ResNet50()."""
    assert _parameters(imagenet) == _by_hand(7, 1000) == 25_557_032
    assert _parameters(cifar) == _by_hand(3, 10) == 23_520_842


def test_there_are_fifty_weighted_layers_besides_the_shortcuts(imagenet):
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.Dense)
    names = [layer.name for layer in imagenet.layers if isinstance(layer, kinds)]
    assert len([name for name in names if "shortcut" not in name]) == 50
    assert len([name for name in names if "shortcut" in name]) == 4


def test_stages_have_the_sides_and_channels_of_table_1(imagenet, cifar):
    def shapes(model):
        ends = ("stem_relu", *(f"stage{stage}_block3_relu3" for stage in (1, 2, 3, 4)))
        return [model.get_layer(name).output.shape[1:].as_list() for name in ends]

    assert shapes(imagenet) == [
        [112, 112, 64], [56, 56, 256], [28, 28, 512], [14, 14, 1024], [7, 7, 2048],
    ]  # fmt: skip
    assert shapes(cifar) == [
        [32, 32, 64], [32, 32, 256], [16, 16, 512], [8, 8, 1024], [4, 4, 2048],
    ]  # fmt: skip
    assert imagenet.output_shape == (None, 1000) and cifar.output_shape == (None, 10)


def test_the_3x3_convolution_halves_the_image(imagenet):
    strides = [imagenet.get_layer(f"stage2_block1_conv{number}").strides for number in (1, 2, 3)]
    assert strides == [(1, 1), (2, 2), (1, 1)]


def test_a_block_equals_plain_convolutions():
    model = resnet50(**SMALL)
    names = ["stage1_block1_relu3", "stage1_block2_relu3"]
    part = tf.keras.Model(model.input, [model.get_layer(name).output for name in names])
    entering, leaving = part(tf.random.stateless_normal([2, 32, 32, 3], [0, 1]))
    kernels = [model.get_layer(f"stage1_block2_conv{number}").kernel for number in (1, 2, 3)]
    assert [kernel.shape.as_list() for kernel in kernels] == [
        [1, 1, 16, 4], [3, 3, 4, 4], [1, 1, 4, 16],
    ]  # fmt: skip
    scale = 1 / np.sqrt(1 + 1e-5)  # a fresh normalisation at inference
    x = tf.nn.relu(tf.nn.conv2d(entering, kernels[0], 1, "SAME") * scale)
    x = tf.nn.relu(tf.nn.conv2d(x, kernels[1], 1, "SAME") * scale)
    expected = tf.nn.relu(entering + tf.nn.conv2d(x, kernels[2], 1, "SAME") * scale)
    np.testing.assert_allclose(leaving, expected, atol=1e-5)


def test_zero_gammas_are_the_last_of_each_block_and_make_it_the_identity():
    model = resnet50(**SMALL, zero_init_last_gamma=True)
    zero = [
        layer.name
        for layer in model.layers
        if isinstance(layer, tf.keras.layers.BatchNormalization) and not np.any(layer.gamma)
    ]
    assert zero == ["stage1_block1_bn3", "stage1_block2_bn3", "stage2_block1_bn3"]
    names = ["stage1_block1_relu3", "stage1_block2_relu3"]
    part = tf.keras.Model(model.input, [model.get_layer(name).output for name in names])
    entering, leaving = part(tf.random.stateless_normal([2, 32, 32, 3], [0, 1]))
    np.testing.assert_array_equal(leaving, entering)


def test_options_reach_every_layer():
    model = resnet50(
        **SMALL, weight_decay=0.2, bn_momentum=0.8, bn_epsilon=1e-4, ghost_batch_size=4, classes=3
    )
    layers = [
        layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    assert len(layers) == 1 + 3 * 3 + 2  # the stem's, three blocks' and two shortcuts'
    assert {type(layer) for layer in layers} == {GhostBatchNormalization}
    assert {(layer.ghost_size, layer.momentum, layer.epsilon) for layer in layers} == {
        (4, 0.8, 1e-4)
    }
    kernels = [v for v in model.trainable_variables if "kernel" in v.name]
    expected = 0.1 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_wrong_options_are_told():
    with pytest.raises(ValueError, match="stem='mnist' must be one of 'imagenet', 'cifar'"):
        resnet50(stem="mnist")
    with pytest.raises(ValueError, match=r"blocks=\(1, 2\) must have a number for each of widths"):
        resnet50(blocks=(1, 2))
