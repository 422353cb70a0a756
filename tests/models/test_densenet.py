"""DenseNet against the paper's counts and parts computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models.densenet import densenet
from tflbt.models.ghost_batch_norm import GhostBatchNormalization

PLAIN = {"bottleneck": False, "compression": 1.0}


def _parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def _of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def _by_hand(depth, k, bottleneck, classes=10):
    """Kernels without biases, two numbers a channel for each normalisation, and the dense layer."""
    channels = 2 * k if bottleneck else 16
    total = 27 * channels
    for stage in (1, 2, 3):
        for _ in range((depth - 4) // (6 if bottleneck else 3)):
            total += 2 * channels
            if bottleneck:
                total += channels * 4 * k + 2 * 4 * k + 9 * 4 * k * k
            else:
                total += 9 * channels * k
            channels += k
        if stage < 3:
            kept = channels // 2 if bottleneck else channels
            total += 2 * channels + channels * kept
            channels = kept
    return total + 2 * channels + channels * classes + classes


@pytest.mark.parametrize(
    ("depth", "k", "bottleneck", "exact", "paper"),
    [
        (100, 12, True, 769_162, 0.8),
        (250, 24, True, 15_324_406, 15.3),
        (190, 40, True, 25_624_430, 25.6),
        (40, 12, False, 1_019_722, 1.0),
        (100, 12, False, 6_979_642, 7.0),
        (100, 24, False, 27_249_082, 27.2),
    ],
)
def test_parameter_counts_are_the_papers(depth, k, bottleneck, exact, paper):
    """Huang et al. (2017), table 2, in millions; pytorchcv's tests have the exact counts of its BC networks."""
    assert _by_hand(depth, k, bottleneck) == exact
    assert round(exact / 1e6, 1) == paper


def test_the_default_is_dense_net_bc_100_12():
    """The table's largest are counted by hand only, for the seconds."""
    model = densenet(classes=100)
    assert _parameters(model) == _by_hand(100, 12, True, 100) == 800_032
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.Dense)
    assert len(_of_kind(model, kinds)) == 100
    ends = [model.get_layer(f"stage{stage}_layer16_join").output for stage in (1, 2, 3)]
    assert [end.shape[1:].as_list() for end in ends] == [[32, 32, 216], [16, 16, 300], [8, 8, 342]]
    assert model.name == "densenet100_12"


@pytest.mark.parametrize(
    ("depth", "k", "bottleneck", "options"), [(22, 3, True, {}), (13, 4, False, PLAIN)]
)
def test_the_depth_is_the_number_of_weighted_layers(depth, k, bottleneck, options):
    model = densenet(depth, k, input_shape=(8, 8, 3), **options)
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.Dense)
    assert len(_of_kind(model, kinds)) == depth
    assert _parameters(model) == _by_hand(depth, k, bottleneck)


def _activated(x):
    return tf.nn.relu(x / np.sqrt(1 + 1e-5))  # a fresh normalisation at inference


@pytest.mark.parametrize("options", [{}, PLAIN])
def test_a_layer_joins_new_channels_and_a_transition_mixes_and_halves(options):
    model = densenet(7 if options else 10, 4, input_shape=(8, 8, 3), **options)

    def kernel(name):
        return model.get_layer(f"{name}_conv").kernel

    names = ("stem", "stage1_layer1_join", "transition1_pool")
    parts = [model.get_layer(name).output for name in names]
    stem, joined, halved = tf.keras.Model(model.input, parts)(
        tf.random.stateless_normal([2, 8, 8, 3], [0, 1])
    )
    new = stem
    if not options:
        new = tf.nn.conv2d(_activated(new), kernel("stage1_layer1_bottleneck"), 1, "VALID")
        assert new.shape[-1] == 16
    new = tf.nn.conv2d(_activated(new), kernel("stage1_layer1"), 1, "SAME")
    np.testing.assert_allclose(joined, tf.concat([stem, new], -1), atol=1e-5)
    mixed = tf.nn.conv2d(_activated(joined), kernel("transition1"), 1, "VALID")
    assert mixed.shape[-1] == joined.shape[-1] // (1 if options else 2)
    expected = tf.reshape(mixed, [2, 4, 2, 4, 2, -1])
    np.testing.assert_allclose(halved, tf.reduce_mean(expected, (2, 4)), atol=1e-5)


def test_dropout_follows_each_convolution_but_the_first():
    assert not _of_kind(densenet(10, 2), tf.keras.layers.Dropout)
    model = densenet(10, 2, dropout=0.2)
    assert [layer.rate for layer in _of_kind(model, tf.keras.layers.Dropout)] == [0.2] * 8
    entering = [layer.input.name for layer in _of_kind(model, tf.keras.layers.Dropout)]
    outputs = [layer.output.name for layer in _of_kind(model, tf.keras.layers.Conv2D)]
    assert entering == outputs[1:]


def test_kernels_start_with_the_authors_variance():
    """``normal(0, sqrt(2 / n))``, n = kernel positions x outputs."""
    tf.keras.utils.set_random_seed(0)
    model = densenet(10, 40, input_shape=(4, 4, 3), classes=1000)
    for name, outputs in (("stage2_layer1_conv", 9 * 40), ("stage2_layer1_bottleneck_conv", 160)):
        assert np.std(model.get_layer(name).kernel) == pytest.approx(np.sqrt(2 / outputs), rel=0.05)
    kernel, bias = model.get_layer("logits").get_weights()
    assert 0.99 < np.abs(kernel).max() * np.sqrt(len(kernel)) <= 1.0001 and not np.any(bias)


def test_options_reach_every_layer():
    model = densenet(
        10, 2, weight_decay=0.2, bn_momentum=0.8, bn_epsilon=1e-4, ghost_batch_size=4, classes=3
    )
    layers = _of_kind(model, tf.keras.layers.BatchNormalization)
    assert {type(layer) for layer in layers} == {GhostBatchNormalization}
    assert [(layer.ghost_size, layer.momentum, layer.epsilon) for layer in layers] == [
        (4, 0.8, 1e-4)
    ] * 9
    kernels = [v for v in model.trainable_variables if "kernel" in v.name]
    assert len(kernels) == len(model.losses) == 10
    expected = 0.1 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_wrong_options_are_told():
    with pytest.raises(ValueError, match=r"^depth=40.5 must be 6n \+ 4, such as 10, 16, 40, 76"):
        densenet(40.5)
    with pytest.raises(ValueError, match=r"^depth=41 must be 3n \+ 4, such as 7, 10, 22, 40"):
        densenet(41, bottleneck=False)
    with pytest.raises(ValueError, match=r"^depth=4 must be 6n \+ 4"):
        densenet(4)
    with pytest.raises(
        ValueError, match="^growth_rate=0 must be a whole number, between 1 and 1000000"
    ):
        densenet(growth_rate=0)
    with pytest.raises(ValueError, match="^compression=0 must be more than 0 and at most 1"):
        densenet(compression=0)
    with pytest.raises(ValueError, match="^dropout=1 must be at least 0 and less than 1"):
        densenet(dropout=1)
    with pytest.raises(ValueError, match=r"^input_shape=\(3, 8, 3\) must be at least 4 pixels"):
        densenet(input_shape=(3, 8, 3))
