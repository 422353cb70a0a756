"""LeNet against the published counts of the two networks of that name."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tflbt.models.lenet import lenet


def test_the_default_is_the_tensorflow_models_network():
    by_layer = [832, 51_264, 3_212_288, 10_250]
    assert lenet().count_params() == sum(by_layer) == 3_274_634


def test_caffes_network_can_be_had():
    assert lenet(filters=(20, 50), units=500, padding="valid").count_params() == 431_080


def test_dropout_is_there_only_when_asked_for():
    def dropouts(model):
        return [layer.rate for layer in model.layers if isinstance(layer, tf.keras.layers.Dropout)]

    assert dropouts(lenet()) == []
    assert dropouts(lenet(dropout=0.4)) == [0.4]


def test_weight_decay_regularises_each_kernel():
    kernels = [v for v in lenet(weight_decay=0.2).trainable_variables if "kernel" in v.name]
    model = lenet(weight_decay=0.2)
    assert len(model.losses) == len(kernels) == 4
    expected = 0.1 * tf.reduce_sum(tf.square(model.get_layer("logits").kernel))
    assert float(model.losses[-1]) == pytest.approx(float(expected))


def test_wrong_options_are_told():
    with pytest.raises(ValueError, match=r"filters must be two numbers, got \(1, 2, 3\)"):
        lenet(filters=(1, 2, 3))
    with pytest.raises(ValueError, match="^dropout=1.0 must be at least 0 and less than 1"):
        lenet(dropout=1.0)
