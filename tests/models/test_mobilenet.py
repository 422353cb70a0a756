"""MobileNet v1 against Keras's own, in its counts and its outputs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.models.mobilenet import BLOCKS, mobilenet

SMALL = {"alpha": 0.25, "input_shape": (16, 16, 3), "blocks": ((16, 1), (32, 2)), "classes": 3}
KERAS = tf.keras.applications.MobileNet
_AS_TRAINED = ((1, 3), (-1, 2), (-1, 1), (0.5, 2))  # gamma, beta, mean, variance


def _parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def _by_hand(alpha, classes=1000):
    """Kernels without biases, two numbers a channel for each normalisation, and the dense layer."""
    channels = int(32 * alpha)
    total = 27 * channels + 2 * channels
    for width in [64, 128, 128, 256, 256, *6 * [512], 1024, 1024]:
        leaving = int(width * alpha)
        total += (9 + 2) * channels + (channels + 2) * leaving
        channels = leaving
    return total + channels * classes + classes


@pytest.mark.parametrize(
    ("alpha", "exact", "paper"),
    [(1.0, 4_231_976, 4.2), (0.75, 2_585_560, 2.6), (0.5, 1_331_592, 1.3), (0.25, 470_072, 0.5)],
)
def test_parameter_counts_are_the_papers(alpha, exact, paper):
    """Howard et al. (2017), table 6, in millions; pytorchcv's tests have the exact counts too."""
    assert _by_hand(alpha) == exact
    assert round(exact / 1e6, 1) == paper


def test_the_default_has_the_parameters_of_kerass():
    """Keras documents 4.3M with the moving statistics, which are two more numbers a channel: 4,253,864 in all."""
    model = mobilenet()
    assert _parameters(model) == _by_hand(1.0)
    assert model.count_params() == 4_253_864
    shapes = [model.get_layer(f"block{number}_pointwise_relu").output.shape for number in (1, 13)]
    assert [shape[1:].as_list() for shape in shapes] == [[112, 112, 64], [7, 7, 1024]]


def test_it_computes_what_kerass_computes():
    """With weights as after training, its cut ReLU and its epsilon; it pads by hand, for even sides alike."""
    theirs = KERAS((32, 32, 3), 0.25, weights=None, classes=7, classifier_activation=None)
    random = np.random.default_rng(0)
    for layer in theirs.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            shifts = (random.uniform(*ends, layer.gamma.shape) for ends in _AS_TRAINED)
            layer.set_weights(list(shifts))
    ours = mobilenet(0.25, input_shape=(32, 32, 3), classes=7, max_activation=6.0, bn_epsilon=1e-3)
    weights = zip(theirs.get_weights(), ours.get_weights())  # their logits are a convolution's
    ours.set_weights([their.reshape(our.shape) for their, our in weights])
    images = random.normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(ours(images), theirs(images), rtol=1e-3, atol=1e-4)
    last = tf.keras.Model(ours.input, ours.get_layer("block13_pointwise_relu").output)(images)
    assert np.any(last == 6) and np.any(last == 0)  # both ends of the cut were tried


def test_kernels_start_as_in_the_authors_code():
    """Normal numbers of deviation 0.09, none beyond two deviations."""
    tf.keras.utils.set_random_seed(0)
    model = mobilenet(1.0, input_shape=(4, 4, 3), blocks=BLOCKS[:4], classes=100)
    for name in ("block4_depthwise_conv", "block4_pointwise_conv", "logits"):
        kernel = model.get_layer(name).get_weights()[0]
        assert np.abs(kernel).max() <= 0.18
        assert kernel.std() == pytest.approx(0.88 * 0.09, rel=0.05)  # what the cut leaves
    assert not np.any(model.get_layer("logits").bias)
    first, second = (model.get_layer(f"block{n}_depthwise_conv").get_weights()[0] for n in (3, 4))
    assert np.abs(first - second).max() > 0.01  # each kernel has its own


def test_weight_decay_leaves_depthwise_kernels_out():
    model = mobilenet(**SMALL, weight_decay=0.2)
    kernels = [
        v for v in model.trainable_variables if "kernel" in v.name and "depthwise" not in v.name
    ]
    assert len(kernels) == len(model.losses) == 4
    expected = 0.1 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_options_reach_every_layer():
    model = mobilenet(
        **SMALL, bn_momentum=0.8, bn_epsilon=1e-4, ghost_batch_size=4, dropout=0.001,
        max_activation=6.0,
    )  # fmt: skip
    layers = [
        layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    assert {type(layer) for layer in layers} == {GhostBatchNormalization}
    assert [(layer.ghost_size, layer.momentum, layer.epsilon) for layer in layers] == [
        (4, 0.8, 1e-4)
    ] * 5
    relus = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.ReLU)]
    assert [layer.max_value for layer in relus] == [6.0] * 5
    assert mobilenet(**SMALL).get_layer("stem_relu").max_value is None
    assert model.get_layer("dropout").rate == 0.001
    assert model.get_layer("dropout").output is model.get_layer("logits").input


def test_wrong_options_are_told():
    with pytest.raises(ValueError, match="^alpha=0.01 must leave each layer at least one channel"):
        mobilenet(0.01)
    with pytest.raises(ValueError, match="^dropout=1 must be at least 0 and less than 1"):
        mobilenet(dropout=1)
