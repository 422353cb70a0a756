"""What holds for every network: logits in float32, plain Keras saving, configuration, names."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt import models
from tflbt.models import MODELS

# Networks too large for these tests are tried with fewer and narrower layers.
SMALLER = {
    "alexnet": {
        "input_shape": (16, 16, 3),
        "filters": (4, 4, 4, 4, 4),
        "units": (8, 8),
        "dropout": 0.0,
    },
    "darts": {"input_shape": (8, 8, 3), "cells": 2, "channels": 2, "drop_path": 0.0},
    "densenet": {"depth": 7, "growth_rate": 2, "bottleneck": False, "input_shape": (8, 8, 3)},
    "mobilenet": {"alpha": 0.25, "input_shape": (16, 16, 3), "blocks": ((16, 2),)},
    "resnet18": {"blocks": (1, 1), "widths": (4, 8)},
    "resnet50": {"stem": "cifar", "blocks": (1, 1), "widths": (4, 8)},
    "small_alexnet": {"input_shape": (16, 16, 3), "filters": (4, 4), "units": (16, 8)},
    "squeezenext": {"input_shape": (16, 16, 3), "width": 0.25, "blocks": (1, 1, 1, 1)},
    "vgg16": {"input_shape": (8, 8, 3), "blocks": (1, 1), "widths": (4, 8), "units": (8,)},
    "wide_resnet": {"input_shape": (16, 16, 3), "depth": 10, "width": 1},
    "word_lstm": {
        **{"input_shape": (4,), "classes": 5, "embedding": 3, "units": 4, "layers": 1},
        **{f"dropout_{where}": 0.0 for where in ("embedding", "input", "output", "recurrent")},
    },
}
FLOAT32 = {"logistic_regression"}  # nothing but the output layer


def build(name, **options):
    return models.build(name, **{**SMALLER.get(name, {}), **options})


@pytest.fixture(params=sorted(MODELS))
def name(request):
    return request.param


@pytest.fixture
def bfloat16():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    tf.keras.mixed_precision.set_global_policy("float32")


def _images(model, samples=3):
    """Inputs of the model's kind: images, or words."""
    if model.inputs[0].dtype.is_integer:
        shape, words = [samples, *model.input_shape[1:]], model.output_shape[-1]
        return tf.random.stateless_uniform(shape, [0, 1], 0, words, tf.int32)
    return tf.random.stateless_normal([samples, *model.input_shape[1:]], [0, 1])


def _labels(model, samples, classes):
    """Labels 0, 1, ... in turn: one for an image, one for each word."""
    labels = tf.range(samples) % classes
    for words in model.output_shape[1:-1]:
        labels = tf.repeat(labels[..., None], words, axis=-1)
    return labels


def test_outputs_are_logits_for_any_number_of_images_and_classes(name):
    model = build(name, classes=7)
    logits = model(_images(model))
    assert logits.shape == ((3, 4, 7) if name == "word_lstm" else (3, 7))
    assert np.abs(tf.reduce_sum(logits, axis=-1) - 1).max() > 1e-3  # no softmax


def test_logits_are_float32_under_mixed_precision(name, bfloat16):
    model = build(name)
    assert model(_images(model)).dtype == tf.float32
    assert all(variable.dtype == tf.float32 for variable in model.trainable_variables)
    expected = {"float32"} if name in FLOAT32 else {"bfloat16", "float32"}
    inputs = tf.keras.layers.InputLayer
    layers = [layer for layer in model.layers if not isinstance(layer, inputs)]
    assert {layer.compute_dtype for layer in layers} == expected


def test_the_configuration_rebuilds_the_network(name):
    model = build(name, weight_decay=0.1)
    again = tf.keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again(_images(model)), model(_images(model)))
    np.testing.assert_allclose(tf.add_n(again.losses), tf.add_n(model.losses), rtol=1e-6)


@pytest.mark.parametrize("form", ["model.keras", "saved_model"])
def test_plain_keras_saves_and_loads_it(name, form, tmp_path):
    model = build(name)
    model.save(tmp_path / form)
    again = tf.keras.models.load_model(tmp_path / form, compile=False)
    np.testing.assert_allclose(again(_images(model)), model(_images(model)), atol=1e-6)


def test_plain_keras_trains_it(name):
    model = build(name, classes=2)
    images, labels = _images(model, 8), _labels(model, 8, 2)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.SGD(0.01, momentum=0.9), loss)
    losses = model.fit(images, labels, batch_size=8, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_one_update_decreases_the_loss_on_its_samples(name):
    """In training mode and with one small step along the gradient, which no noise can undo."""
    tf.keras.utils.set_random_seed(0)
    model = build(name, classes=3)
    images, labels = _images(model, 6), _labels(model, 6, 3)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        before = loss(labels, model(images, training=True))
    gradients = tape.gradient(before, model.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    norm = tf.linalg.global_norm(gradients)
    for variable, gradient in zip(model.trainable_variables, gradients):
        variable.assign_sub(1e-3 * gradient / norm)
    after = loss(labels, model(images, training=True))
    assert float(before - after) == pytest.approx(1e-3 * float(norm), rel=0.2)


def test_the_same_seed_gives_the_same_weights(name):
    weights = []
    for _ in range(2):
        tf.keras.utils.set_random_seed(5)
        weights.append(build(name).get_weights())
    for first, second in zip(*weights):
        np.testing.assert_array_equal(first, second)


def test_every_layer_has_a_name_of_its_own_choosing(name):
    tf.keras.backend.clear_session()
    first = [layer.name for layer in build(name).layers]
    assert first == [layer.name for layer in build(name).layers]


def test_unknown_names_and_options_list_those_that_exist(name):
    with pytest.raises(ValueError, match="no model 'vgg'; name one of .*'cifar_resnet'.*'lenet'"):
        build("vgg")
    with pytest.raises(
        ValueError, match=r"has no option \['colour'\]; its options are .*'classes'"
    ):
        build(name, colour="red")
