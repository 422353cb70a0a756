"""ResNet-18 against the counts of the implementations it follows, and the shapes of the paper's table."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.models.resnet import resnet18

SMALL = {"blocks": (2, 1), "widths": (4, 8)}


def _parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


@pytest.fixture(scope="module")
def imagenet():
    return resnet18(stem="imagenet")


@pytest.fixture(scope="module")
def cifar():
    return resnet18()


def _by_hand(stem_kernel, classes, blocks=(2, 2, 2, 2)):
    """Kernels and dense layer of He et al.'s table 1, with two more numbers a channel for each normalisation."""

    def convolution(kernel, entering, leaving):
        return kernel**2 * entering * leaving + 2 * leaving

    total, entering = convolution(stem_kernel, 3, 64), 64
    for count, width in zip(blocks, (64, 128, 256, 512)):
        total += convolution(1, entering, width) if entering != width else 0
        for _ in range(count):
            total += convolution(3, entering, width) + convolution(3, width, width)
            entering = width
    return total + entering * classes + classes


def test_parameter_counts_are_torchvisions_and_those_for_cifar(imagenet, cifar):
    """Documented by torchvision as num_params 11689512; tables for CIFAR-100 have 11.22M, for CIFAR-10 11.17M."""
    assert _parameters(imagenet) == _by_hand(7, 1000) == 11_689_512
    assert _parameters(cifar) == _by_hand(3, 100) == 11_220_132
    assert _by_hand(3, 10) == 11_173_962


def test_other_blocks_make_torchvisions_resnet34():
    model = resnet18(stem="imagenet", blocks=(3, 4, 6, 3))
    assert _parameters(model) == _by_hand(7, 1000, (3, 4, 6, 3)) == 21_797_672


def test_there_are_eighteen_weighted_layers_besides_the_shortcuts(cifar):
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.Dense)
    names = [layer.name for layer in cifar.layers if isinstance(layer, kinds)]
    assert len([name for name in names if "shortcut" not in name]) == 18
    assert len([name for name in names if "shortcut" in name]) == 3


def test_stages_have_the_sides_and_channels_of_table_1(imagenet, cifar):
    def shapes(model):
        ends = ("stem_relu", *(f"stage{stage}_block2_relu2" for stage in (1, 2, 3, 4)))
        return [model.get_layer(name).output.shape[1:].as_list() for name in ends]

    assert shapes(imagenet) == [
        [112, 112, 64], [56, 56, 64], [28, 28, 128], [14, 14, 256], [7, 7, 512],
    ]  # fmt: skip
    assert shapes(cifar) == [
        [32, 32, 64], [32, 32, 64], [16, 16, 128], [8, 8, 256], [4, 4, 512],
    ]  # fmt: skip
    assert imagenet.output_shape == (None, 1000) and cifar.output_shape == (None, 100)


def test_a_block_that_halves_the_image_equals_plain_convolutions():
    model = resnet18(**SMALL)
    names = ["stage1_block2_relu2", "stage2_block1_relu2"]
    part = tf.keras.Model(model.input, [model.get_layer(name).output for name in names])
    entering, leaving = part(tf.random.stateless_normal([2, 32, 32, 3], [0, 1]))
    first, second, shortcut = (
        model.get_layer(f"stage2_block1_{layer}").kernel
        for layer in ("conv1", "conv2", "shortcut_conv")
    )
    scale = 1 / np.sqrt(1 + 1e-5)  # a fresh normalisation at inference
    x = tf.nn.relu(tf.nn.conv2d(entering, first, 2, "SAME") * scale)
    x = tf.nn.conv2d(x, second, 1, "SAME") + tf.nn.conv2d(entering, shortcut, 2, "SAME")
    np.testing.assert_allclose(leaving, tf.nn.relu(x * scale), atol=1e-5)


def test_options_reach_every_layer():
    model = resnet18(
        **SMALL, weight_decay=0.2, bn_momentum=0.8, bn_epsilon=1e-4, ghost_batch_size=4,
        zero_init_last_gamma=True, classes=3,
    )  # fmt: skip
    layers = [
        layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    assert len(layers) == 1 + 3 * 2 + 1  # the stem's, three blocks' and a shortcut's
    assert {type(layer) for layer in layers} == {GhostBatchNormalization}
    assert {(layer.ghost_size, layer.momentum, layer.epsilon) for layer in layers} == {
        (4, 0.8, 1e-4)
    }
    zero = [layer.name for layer in layers if not np.any(layer.gamma)]
    assert zero == ["stage1_block1_bn2", "stage1_block2_bn2", "stage2_block1_bn2"]
    kernels = [v for v in model.trainable_variables if "kernel" in v.name]
    expected = 0.1 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_wrong_options_are_told():
    with pytest.raises(ValueError, match="stem='mnist' must be one of 'imagenet', 'cifar'"):
        resnet18(stem="mnist")
    with pytest.raises(ValueError, match=r"blocks=\(1, 2\) must have a number for each of widths"):
        resnet18(blocks=(1, 2))
