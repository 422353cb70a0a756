"""The residual networks against the paper's counts and a block computed by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.models.resnet import cifar_resnet, digits_resnet


def _parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


@pytest.mark.parametrize(
    ("depth", "exact", "paper"),
    [(20, 269_722, 0.27), (32, 464_154, 0.46), (44, 658_586, 0.66), (56, 853_018, 0.85)],
)
def test_parameter_counts_are_the_papers(depth, exact, paper):
    """Table 6 of He et al. (2016), in millions."""
    parameters = _parameters(cifar_resnet(depth))
    assert parameters == exact
    assert round(parameters / 1e6, 2) == paper


def test_the_depth_is_the_number_of_weighted_layers():
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.Dense)
    model = cifar_resnet(32)
    assert sum(isinstance(layer, kinds) for layer in model.layers) == 32


def test_shortcut_b_adds_two_projections():
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert _parameters(cifar_resnet(20, shortcut="B")) == 269_722 + projections


@pytest.mark.parametrize("side", [32, 9])
def test_shortcut_a_takes_every_second_pixel_and_appends_zeros(side):
    model = cifar_resnet(20, input_shape=(side, side, 3))
    entering = model.get_layer("stage2_block1_shortcut_stride").input
    leaving = model.get_layer("stage2_block1_shortcut_pad").output
    before, after = tf.keras.Model(model.input, [entering, leaving])(
        tf.random.stateless_normal([2, side, side, 3], [0, 1])
    )
    np.testing.assert_array_equal(after[..., :16], before[:, ::2, ::2])
    np.testing.assert_array_equal(after[..., 16:], 0)
    assert after.shape[-1] == 32


def test_a_block_equals_plain_convolutions():
    model = cifar_resnet(20)
    names = ["stem_relu", "stage1_block1_relu2"]
    part = tf.keras.Model(model.input, [model.get_layer(name).output for name in names])
    entering, leaving = part(tf.random.stateless_normal([2, 32, 32, 3], [0, 1]))
    first, second = (model.get_layer(f"stage1_block1_conv{number}").kernel for number in (1, 2))
    scale = 1 / np.sqrt(1 + 1e-5)  # a fresh normalisation at inference
    hidden = tf.nn.relu(tf.nn.conv2d(entering, first, 1, "SAME") * scale)
    expected = tf.nn.relu(entering + tf.nn.conv2d(hidden, second, 1, "SAME") * scale)
    np.testing.assert_allclose(leaving, expected, atol=1e-5)


def test_weight_decay_has_gradient_b_times_w():
    model = digits_resnet(weight_decay=0.1)
    with tf.GradientTape() as tape:
        penalty = tf.add_n(model.losses)
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(penalty, model.trainable_variables)
    ):
        if "kernel" in variable.name:
            np.testing.assert_allclose(gradient, 0.1 * variable, rtol=1e-6)
        else:
            assert gradient is None
    assert not digits_resnet().losses


def test_zero_init_last_gamma_makes_blocks_start_as_the_identity():
    model = digits_resnet(zero_init_last_gamma=True)
    names = ["stem_relu", "stage1_block1_relu2"]
    part = tf.keras.Model(model.input, [model.get_layer(name).output for name in names])
    entering, leaving = part(tf.random.stateless_normal([2, 8, 8, 1], [0, 1]))
    np.testing.assert_array_equal(leaving, entering)


def test_normalisation_variables_and_biases_can_be_found_by_name():
    rest = [
        variable.name
        for variable in cifar_resnet(20).trainable_variables
        if not re.search("batch_normalization|bn|gamma|beta|bias", variable.name)
    ]
    assert len(rest) == 20 and all(name.endswith("kernel:0") for name in rest)


def test_normalisation_settings_reach_every_layer():
    model = cifar_resnet(20, bn_momentum=0.8, bn_epsilon=1e-4)
    layers = [
        layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    assert {(layer.momentum, layer.epsilon) for layer in layers} == {(0.8, 1e-4)}
    assert len(layers) == 19


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_ghosts_take_the_place_of_every_normalisation(shortcut):
    """The same weights and inference; in training each ghost is as a batch of its own."""
    plain, ghosts = (
        digits_resnet(shortcut=shortcut, ghost_batch_size=size, bn_momentum=0.8)
        for size in (None, 4)
    )
    kinds = [layer for layer in ghosts.layers if type(layer) is GhostBatchNormalization]
    assert [(layer.ghost_size, layer.momentum, layer.epsilon) for layer in kinds] == [
        (4, 0.8, 1e-5)
        for layer in plain.layers
        if type(layer) is tf.keras.layers.BatchNormalization
    ]
    assert [w.name for w in ghosts.weights] == [w.name for w in plain.weights]
    ghosts.set_weights(plain.get_weights())
    x = tf.random.stateless_normal([8, 8, 8, 1], [0, 1])
    np.testing.assert_array_equal(ghosts(x), plain(x))
    wanted = [plain(x[:4], training=True), plain(x[4:], training=True)]
    np.testing.assert_allclose(ghosts(x, training=True), tf.concat(wanted, 0), atol=1e-4)
    with pytest.raises(ValueError, match="^ghost_batch_size=0 must be a whole number, at least 1"):
        digits_resnet(ghost_batch_size=0)


def test_a_wrong_depth_or_shortcut_is_told():
    with pytest.raises(ValueError, match=r"6n \+ 2 for 3 stages, such as \[8, 20, .*; got 21"):
        cifar_resnet(21)
    with pytest.raises(ValueError, match="^shortcut='C' must be one of 'A', 'B'"):
        cifar_resnet(20, shortcut="C")
    with pytest.raises(ValueError, match="widths must not decrease"):
        cifar_resnet(20, widths=(16, 8, 64))
