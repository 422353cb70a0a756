"""DARTS: the authors' count, every cell's wiring against the genotype by plain operations, and drop path."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.models import GhostBatchNormalization
from tflbt.models.darts import darts

TINY = {"input_shape": (8, 8, 3), "cells": 3, "channels": 2}
NORMALISATION = tf.keras.layers.BatchNormalization
# DARTS_V2 of cnn/genotypes.py in github.com/quark0/darts, (operation, state).
NORMAL = "sep 0, sep 1, sep 0, sep 1, sep 1, skip 0, skip 0, dil 2"
REDUCE = "max 0, max 1, skip 2, max 1, max 0, skip 2, skip 2, max 1"


def genotype(text):
    return [(part.split()[0], int(part.split()[1])) for part in text.split(", ")]


def parameters_by_hand(cells, channels, classes):
    """Trainable ones, with the operations' shapes of cnn/operations.py."""
    total = 3 * 9 * 3 * channels + 2 * 3 * channels  # the stem
    older = newer = 3 * channels
    for cell in range(cells):
        halves = cell in (cells // 3, 2 * cells // 3)
        channels *= 2 if halves else 1
        total += (older + newer) * channels + 2 * 2 * channels  # the same where halved on the way
        separable = 9 * channels + channels**2 + 2 * channels
        count = {"sep": 2 * separable, "dil": separable, "max": 0, "skip": 0}
        total += sum(count[operation] for operation, _ in genotype(REDUCE if halves else NORMAL))
        older, newer = newer, 4 * channels
    return total + newer * classes + classes


def test_parameter_counts_are_the_authors():
    """3.349 million in their README."""
    assert parameters_by_hand(20, 36, 10) == 3_349_342
    model = darts(**{**TINY, "cells": 4}, classes=7)
    counted = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert counted == parameters_by_hand(4, 2, 7)
    assert model.name == "darts4"


class ByHand:
    """A cell of plain operations, at inference, with a fresh network's statistics."""

    def __init__(self, model, name):
        self.model, self.name = model, name

    def weights(self, part):
        return self.model.get_layer(f"{self.name}_{part}_conv").trainable_variables

    def bn(self, x):
        return x / np.sqrt(1 + 1e-5)

    def entered(self, x, part, halved):
        x = tf.nn.relu(x)
        if not halved:
            return self.bn(tf.nn.conv2d(x, *self.weights(part), 1, "VALID"))
        even = tf.einsum("nhwc,xycd->nhwd", x[:, ::2, ::2], *self.weights(f"{part}_even"))
        odd = tf.einsum("nhwc,xycd->nhwd", x[:, 1::2, 1::2], *self.weights(f"{part}_odd"))
        return self.bn(tf.concat([even, odd], -1))

    def separable(self, x, part, dilation):
        depthwise, pointwise = self.weights(part)
        x = tf.nn.depthwise_conv2d(
            tf.nn.relu(x), depthwise, [1, 1, 1, 1], "SAME", dilations=[dilation] * 2
        )
        return self.bn(tf.nn.conv2d(x, pointwise, 1, "SAME"))

    def operation(self, name, x, stride, part):
        if name == "skip":
            return x
        if name == "max":
            return tf.nn.max_pool2d(x, 3, stride, "SAME")
        if name == "dil":
            return self.separable(x, part, 2)
        return self.separable(self.separable(x, f"{part}1", 1), f"{part}2", 1)

    def cell(self, older, newer, halves):
        halved = older.shape[1] != newer.shape[1]
        states = [self.entered(older, "in0", halved), self.entered(newer, "in1", False)]
        wiring = genotype(REDUCE if halves else NORMAL)
        for node in range(4):
            ends = []
            for side, (name, state) in zip("ab", wiring[2 * node : 2 * node + 2]):
                stride = 2 if halves and state < 2 else 1
                ends.append(self.operation(name, states[state], stride, f"{node + 2}{side}"))
            states.append(ends[0] + ends[1])
        return tf.concat(states[2:], -1)


def test_every_cell_is_the_genotypes():
    """Of five cells the second and the fourth halve the image, so both kinds come after both."""
    model = darts(**{**TINY, "cells": 5})
    names = ["stem_bn", *(f"cell{cell}_join" for cell in range(1, 6))]
    part = tf.keras.Model(model.input, [model.get_layer(name).output for name in names])
    stem, *joined = part(tf.random.stateless_normal([2, 8, 8, 3], [0, 1]))
    outputs = [stem, stem, *joined]
    for cell in range(5):
        expected = ByHand(model, f"cell{cell + 1}").cell(*outputs[cell : cell + 2], cell in (1, 3))
        np.testing.assert_allclose(outputs[cell + 2], expected, atol=1e-5, err_msg=names[cell + 1])
    assert [x.shape[1] for x in joined] == [8, 4, 4, 2, 2]
    assert [x.shape[3] for x in joined] == [8, 16, 16, 32, 32]


def test_drop_path_drops_operations_of_whole_samples_and_no_skips():
    model = darts(**TINY, drop_path=0.5)
    drops = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.Dropout)]
    assert len(drops) == 6 + 5 + 5  # the genotype's operations that are no skips
    layer = model.get_layer("cell1_2a_drop")
    masks = layer(tf.ones([64, 4, 4, 2]), training=True).numpy()
    np.testing.assert_array_equal(masks, np.broadcast_to(masks[:, :1, :1, :1], masks.shape))
    assert set(np.unique(masks)) == {0.0, 2.0}
    images = tf.repeat(tf.random.stateless_normal([1, 8, 8, 3], [0, 1]), 8, axis=0)
    logits = model(images, training=True).numpy()
    assert len({row.tobytes() for row in logits}) > 1  # equal samples become different instances
    np.testing.assert_allclose(model(images)[0], model(images)[1], atol=1e-6)


def test_initial_weights_have_pytorchs_ranges():
    """+-1 / sqrt(fan_in), where a depthwise kernel's fan_in is its 9 positions."""
    tf.keras.utils.set_random_seed(0)
    model = darts(**{**TINY, "channels": 8})
    depthwise, pointwise = model.get_layer("cell1_2a1_conv").trainable_variables
    assert 0.3 < np.abs(depthwise).max() <= 1 / 3
    assert 0.9 * 8**-0.5 < np.abs(pointwise).max() <= 8**-0.5
    (entering,) = model.get_layer("cell1_in0_conv").trainable_variables
    assert 0.9 * 24**-0.5 < np.abs(entering).max() <= 24**-0.5


def test_options_reach_every_layer():
    model = darts(**TINY, weight_decay=0.2, bn_momentum=0.8, bn_epsilon=1e-4, ghost_batch_size=4)
    layers = [layer for layer in model.layers if isinstance(layer, NORMALISATION)]
    assert (
        len(layers) == 1 + 3 * 2 + 11
    )  # the stem, two of each cell's inputs, the normal cell's operations
    assert {type(layer) for layer in layers} == {GhostBatchNormalization}
    assert {(layer.ghost_size, layer.momentum, layer.epsilon) for layer in layers} == {
        (4, 0.8, 1e-4)
    }
    kernels = [v for v in model.trainable_variables if "kernel" in v.name]
    expected = 0.1 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_both_cells_come_back_from_their_configuration_and_compute_in_bfloat16():
    """`test_models` has but reduction cells, and no drop path."""
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = darts(**TINY)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    again = tf.keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    images = tf.random.stateless_normal([4, 8, 8, 3], [0, 1])
    np.testing.assert_array_equal(again(images), model(images))
    exact = darts(**TINY)
    exact.set_weights(model.get_weights())
    assert model(images).dtype == tf.float32
    assert model.get_layer("cell1_5b_conv").compute_dtype == "bfloat16"
    np.testing.assert_allclose(
        model(images), exact(images), atol=0.05 * np.abs(exact(images)).max()
    )
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(images, training=True) ** 2)
    gradients = tape.gradient(total, model.trainable_variables)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 1}, "^cells=1 must be a whole number, at least 2"),
        ({"channels": 0}, "^channels=0 must be a whole number, between 1 and 1000000"),
        ({"drop_path": 1.0}, "^drop_path=1.0 must be at least 0 and less than 1"),
        ({"input_shape": (10, 8, 3)}, r"^input_shape=\(10, 8, 3\) must have sides of multiples"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        darts(**{**TINY, **options})
