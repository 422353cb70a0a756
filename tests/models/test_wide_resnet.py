"""Wide residual networks against the authors' counts and a block computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.models.wide_resnet import wide_resnet

NORMALISATION, CONVOLUTION = tf.keras.layers.BatchNormalization, tf.keras.layers.Conv2D


def _parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def _of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def _by_hand(depth, k, classes=10):
    """Kernels without biases, two numbers a channel for each normalisation, and the dense layer."""
    total, entering = 9 * 3 * 16, 16
    for channels in (16 * k, 32 * k, 64 * k):
        for _ in range((depth - 4) // 6):
            total += 2 * entering + 9 * entering * channels + 2 * channels + 9 * channels**2
            total += entering * channels if entering != channels else 0
            entering = channels
    return total + 2 * entering + entering * classes + classes


@pytest.mark.parametrize(
    ("depth", "k", "exact", "paper"),
    [
        (16, 4, 2_748_890, None),
        (16, 8, 10_961_370, 11.0),
        (28, 10, 36_479_194, 36.5),
        (40, 4, 8_949_210, 8.9),
        (40, 1, 563_930, 0.6),
    ],
)
def test_parameter_counts_are_the_papers(depth, k, exact, paper):
    """Zagoruyko and Komodakis (2016), tables 4 and 5, in millions.

    The authors' log ``wide-resnet_1121914561`` says "Network has 8949210 parameters" of 40-4; pytorchcv's tests have
    36,479,194 for its ``wrn28_10_cifar10``. Tables of others have 2.77M for 16-4 with 100 classes.
    """
    if (depth, k) in (
        (16, 4),
        (16, 8),
    ):  # the larger ones are counted by hand only, for the seconds
        assert _parameters(wide_resnet(depth, k)) == exact
    assert _by_hand(depth, k) == exact
    assert paper is None or round(exact / 1e6, 1) == paper


def test_with_the_classes_of_cifar100():
    assert _parameters(wide_resnet(16, 4, classes=100)) == _by_hand(16, 4, 100) == 2_772_020


@pytest.mark.parametrize(("depth", "k"), [(10, 1), (16, 2), (22, 1), (40, 1)])
def test_the_depth_is_the_number_of_convolutions(depth, k):
    """At width 1 the first stage needs no shortcut convolution."""
    model = wide_resnet(depth, k)
    assert len(_of_kind(model, CONVOLUTION)) == depth - (k == 1)
    assert _parameters(model) == _by_hand(depth, k)
    assert model.name == f"wide_resnet{depth}_{k}"


def test_stages_have_their_sides_and_channels():
    model = wide_resnet(10, 2)
    shapes = [model.get_layer(f"stage{stage}_block1_add").output.shape[1:] for stage in (1, 2, 3)]
    assert [shape.as_list() for shape in shapes] == [[32, 32, 32], [16, 16, 64], [8, 8, 128]]


@pytest.mark.parametrize("name", ["stage1_block1", "stage2_block1", "stage2_block2"])
def test_a_block_equals_plain_convolutions(name):
    """One with a plain shortcut and new channels, one that halves the image, one without either."""
    model = wide_resnet(16, 2, input_shape=(8, 8, 3))
    first = model.get_layer(f"{name}_bn1")
    part = tf.keras.Model(model.input, [first.input, model.get_layer(f"{name}_add").output])
    entering, leaving = part(tf.random.stateless_normal([2, 8, 8, 3], [0, 1]))
    scale = 1 / np.sqrt(1 + 1e-5)  # a fresh normalisation at inference
    kernels = [model.get_layer(f"{name}_conv{number}").kernel for number in (1, 2)]
    stride = 2 if name == "stage2_block1" else 1
    activated = tf.nn.relu(entering * scale)
    shortcut = entering
    if name.endswith("block1"):
        shortcut = tf.nn.conv2d(
            activated, model.get_layer(f"{name}_shortcut_conv").kernel, stride, "SAME"
        )
    x = tf.nn.relu(tf.nn.conv2d(activated, kernels[0], stride, "SAME") * scale)
    expected = shortcut + tf.nn.conv2d(x, kernels[1], 1, "SAME")
    np.testing.assert_allclose(leaving, expected, atol=1e-5)


def test_dropout_stands_before_the_second_convolution_of_each_block():
    assert not _of_kind(wide_resnet(10, 1), tf.keras.layers.Dropout)
    model = wide_resnet(10, 1, dropout=0.3)
    dropouts = _of_kind(model, tf.keras.layers.Dropout)
    assert [layer.rate for layer in dropouts] == [0.3] * 3
    for stage, layer in enumerate(dropouts, start=1):
        assert layer.input is model.get_layer(f"stage{stage}_block1_relu2").output
        assert layer.output is model.get_layer(f"stage{stage}_block1_conv2").input


def test_options_reach_every_layer():
    model = wide_resnet(
        10, 2, weight_decay=0.2, bn_momentum=0.8, bn_epsilon=1e-4, ghost_batch_size=4, classes=3
    )
    layers = _of_kind(model, NORMALISATION)
    assert len(layers) == 2 * 3 + 1
    assert {type(layer) for layer in layers} == {GhostBatchNormalization}
    assert {(layer.ghost_size, layer.momentum, layer.epsilon) for layer in layers} == {
        (4, 0.8, 1e-4)
    }
    kernels = [v for v in model.trainable_variables if "kernel" in v.name]
    assert len(kernels) == 10 + 1
    expected = 0.1 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_wrong_options_are_told():
    for depth in (18, 4):
        with pytest.raises(ValueError, match=rf"^depth={depth} must be 6n \+ 4, such as 10"):
            wide_resnet(depth)
    with pytest.raises(ValueError, match="^width=0 must be a whole number, between 1"):
        wide_resnet(16, 0)
    with pytest.raises(ValueError, match="^dropout=1.0 must be at least 0 and less than 1"):
        wide_resnet(dropout=1.0)
