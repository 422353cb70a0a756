"""Keras's own networks by name: logits, options, and the errors that name what exists."""

from __future__ import annotations

import inspect

import pytest
import tensorflow as tf

from tflbt import models

NAME = "keras.applications.ResNet50"
SMALL = {"input_shape": (32, 32, 3), "classes": 7}


def test_resnet50_is_keras_s_with_decay_and_ghosts():
    model = models.build(NAME, **SMALL, weight_decay=0.1, ghost_batch_size=4, bn_momentum=0.9)
    assert len(model.losses) == 54  # 53 convolutions and the dense layer
    kernels = [v for v in model.trainable_variables if "kernel" in v.name]
    expected = 0.05 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)
    normalisations = [v for v in model.layers if isinstance(v, tf.keras.layers.BatchNormalization)]
    assert len(normalisations) == 53
    assert {(v.ghost_size, v.momentum, v.epsilon) for v in normalisations} == {(4, 0.9, 1.001e-5)}
    theirs = tf.keras.applications.ResNet50(weights=None, **SMALL)
    assert [w.shape for w in model.weights] == [w.shape for w in theirs.weights]


def test_it_ends_in_logits_in_float32_under_mixed_precision_too():
    name = "keras.applications.MobileNet"
    logits = models.build(name, **SMALL)(tf.zeros([2, 32, 32, 3]))
    assert logits.shape == (2, 7) and logits.dtype == tf.float32
    assert float(tf.reduce_max(tf.abs(tf.reduce_sum(logits, -1) - 1))) > 1e-3  # no softmax
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = models.build(name, **SMALL)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert model.output.dtype == tf.float32 and model.layers[1].compute_dtype == "bfloat16"


def test_its_options_are_keras_s_and_ours():
    parameters = inspect.signature(models.network(NAME)).parameters
    assert {name: parameters[name].default for name in parameters} == {
        "weights": None, "input_shape": None, "classes": 1000, "weight_decay": 0.0,
        "decay_last_bias": False, "bn_momentum": None, "bn_epsilon": None, "ghost_batch_size": None,
    }  # fmt: skip
    assert "alpha" in inspect.signature(models.network("keras.applications.MobileNet")).parameters


@pytest.mark.parametrize("name", ["resnet50", "resnet", "ResNet5O"])
def test_unknown_names_list_those_that_exist(name):
    with pytest.raises(ValueError, match=f"no model 'keras.applications.{name}'.* ResNet50, "):
        models.build(f"keras.applications.{name}")


@pytest.mark.parametrize("option", ["include_top", "classifier_activation", "colour"])
def test_unknown_options_list_those_that_exist(option):
    with pytest.raises(ValueError, match=rf"has no option \['{option}'\]; .*'weight_decay'"):
        models.build(NAME, **{option: False})


def test_our_own_names_are_found_likewise():
    assert models.network("lenet") is models.lenet
    with pytest.raises(ValueError, match="name one of .*, or one of Keras's, such as 'keras.app"):
        models.network("lenet5")
