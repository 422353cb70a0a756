"""SqueezeNext against its PyTorch version's layer list, counted by hand, and a block computed by hand."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.models.squeezenext import squeezenext

NORMALISATION, CONVOLUTION = tf.keras.layers.BatchNormalization, tf.keras.layers.Conv2D

# (times, block's channels in, squeezed, least, out, convolution in the shortcut) of 1.0-SqNxt-23 for CIFAR-10, written
# out from the constructor calls of SqueezeNext.ipynb in github.com/luuuyi/SqueezeNext.PyTorch (commit c620e3d).
BLOCKS = [
    (1, 64, 16, 8, 32, True),  # more channels in than out: a quarter
    (5, 32, 16, 8, 32, False),
    (1, 32, 32, 16, 64, True),  # stride 2: all
    (5, 64, 32, 16, 64, False),
    (1, 64, 64, 32, 128, True),
    (7, 128, 64, 32, 128, False),
    (1, 128, 128, 64, 256, True),
]


network = functools.cache(squeezenext)  # built once for all tests, which change nothing in it


def _parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def _by_hand(width, classes, blocks=BLOCKS):
    def unit(positions, entering, leaving):  # kernel, bias, and the normalisation's two
        return positions * entering * leaving + 3 * leaving

    total = unit(9, 3, 64 * width)
    for times, *channels, projected in blocks:
        entering, squeezed, least, leaving = (width * number for number in channels)
        block = unit(1, entering, squeezed) + unit(1, squeezed, least)
        block += unit(3, least, squeezed) + unit(3, squeezed, squeezed)
        block += unit(1, squeezed, leaving)
        total += times * (block + (unit(1, entering, leaving) if projected else 0))
    return total + unit(1, 256 * width, 128 * width) + 128 * width * classes + classes


@pytest.mark.parametrize(("width", "exact"), [(1, 588_666), (2, 2_313_962)])
def test_parameter_counts_are_the_pytorch_versions(width, exact):
    model = network(float(width))
    assert _parameters(model) == _by_hand(width, 10) == exact
    assert model.name == "squeezenext23"


def test_parameter_counts_with_other_blocks_and_classes():
    blocks = [BLOCKS[0], (1, *BLOCKS[1][1:]), *(block for block in BLOCKS[2:] if block[-1])]
    model = network(input_shape=(8, 8, 3), blocks=(2, 1, 1, 1), classes=100)
    assert _parameters(model) == _by_hand(1, 100, blocks)
    assert _by_hand(1, 100) == 600_276  # the PyTorch version's


def test_every_convolution_has_the_channels_of_the_layer_list():
    model = network(1.0)
    expected = [(3, 64)]
    for times, entering, squeezed, least, leaving, projected in BLOCKS:
        for _ in range(times):
            expected += [(entering, leaving)] if projected else []
            expected += [
                (entering, squeezed),
                (squeezed, least),
                (least, squeezed),
                (squeezed, squeezed),
                (squeezed, leaving),
            ]
    expected.append((256, 128))
    convolutions = [layer for layer in model.layers if isinstance(layer, CONVOLUTION)]
    assert sorted(tuple(layer.kernel.shape[2:]) for layer in convolutions) == sorted(expected)
    assert all(layer.use_bias for layer in convolutions)


def test_stages_have_their_sides_and_channels():
    model = network(2.0)
    ends = [(1, 6), (2, 6), (3, 8), (4, 1)]
    shapes = [model.get_layer(f"stage{s}_block{b}_add").output.shape[1:].as_list() for s, b in ends]
    assert shapes == [[32, 32, 64], [16, 16, 128], [8, 8, 256], [4, 4, 512]]
    assert model.get_layer("last_relu").output.shape[1:] == (4, 4, 256)


@pytest.mark.parametrize(
    ("name", "stride"), [("stage1_block1", 1), ("stage1_block2", 1), ("stage2_block1", 2)]
)
def test_a_block_equals_plain_convolutions_and_the_pytorch_versions_relus(name, stride):
    """The ReLUs of the shortcut and of the sum, which ours leaves out, are here."""
    model = network(input_shape=(8, 8, 3), blocks=(2, 1, 1, 1), classes=100)
    first = model.get_layer(f"{name}_1_conv")
    part = tf.keras.Model(model.input, [first.input, model.get_layer(f"{name}_add").output])
    entering, leaving = part(tf.random.stateless_normal([2, 8, 8, 3], [0, 1]))

    def unit(x, layer, stride=1):
        layer = model.get_layer(f"{name}_{layer}_conv")
        y = tf.nn.conv2d(x, layer.kernel, stride, "SAME") + layer.bias
        return tf.nn.relu(y / np.sqrt(1 + 1e-5))  # a fresh normalisation at inference

    x = unit(entering, "1", stride)
    for layer in "2345":
        x = unit(x, layer)
    shortcut = entering if name.endswith("2") else unit(entering, "shortcut", stride)
    expected = tf.nn.relu(x + tf.nn.relu(shortcut))
    np.testing.assert_allclose(leaving, expected, atol=1e-5)
    assert [tuple(model.get_layer(f"{name}_{n}_conv").kernel_size) for n in (3, 4)] == [
        (1, 3),
        (3, 1),
    ]


def test_kernels_start_with_the_variance_of_the_pytorch_version():
    """Glorot's uniform distribution with gain sqrt(2): variance 2 * 2 / (fan_in + fan_out)."""
    kernel = network(2.0).get_layer("last_conv").kernel.numpy()
    assert kernel.shape == (1, 1, 512, 256)
    assert kernel.var() == pytest.approx(4 / 768, rel=0.02)
    assert np.abs(kernel).max() <= np.sqrt(12 / 768)


def test_options_reach_every_layer():
    model = squeezenext(
        blocks=(1, 1, 1, 1), weight_decay=0.2, bn_momentum=0.8, bn_epsilon=1e-4, ghost_batch_size=4
    )
    layers = [layer for layer in model.layers if isinstance(layer, NORMALISATION)]
    assert len(layers) == 2 + 4 * 6
    assert {type(layer) for layer in layers} == {GhostBatchNormalization}
    assert {(layer.ghost_size, layer.momentum, layer.epsilon) for layer in layers} == {
        (4, 0.8, 1e-4)
    }
    kernels = [v for v in model.trainable_variables if "kernel" in v.name]
    expected = 0.1 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_wrong_options_are_told():
    for blocks, message in (
        ((6, 6, 8), r"^blocks=\(6, 6, 8\) must be four numbers of at least 1"),
        ((6, 6, 8, 0), "^blocks=0 must be a whole number, between 1 and 1000000"),
    ):
        with pytest.raises(ValueError, match=message):
            squeezenext(blocks=blocks)
    with pytest.raises(ValueError, match="^width=0.1 must be at least 0.125"):
        squeezenext(0.1)
