"""What holds for every network: logits in float32, plain Keras saving, configuration, names."""

from __future__ import annotations

import dataclasses

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
    "cifar_resnet": {"input_shape": (8, 8, 3), "depth": 8, "widths": (4, 4, 4)},
    "darts": {"input_shape": (8, 8, 3), "cells": 2, "channels": 2, "drop_path": 0.0},
    "densenet": {"depth": 7, "growth_rate": 2, "bottleneck": False, "input_shape": (8, 8, 3)},
    "digits_resnet": {"depth": 8, "widths": (4, 4, 4)},
    "lenet": {"input_shape": (8, 8, 1), "filters": (2, 2), "units": 8},
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
# The networks whose layers are, by class, those of all, and which of them: to trace each layer of a network for
# TensorFlow's own format takes longer than all else here. `model.keras` holds every network.
SAVED = {
    "cifar_resnet": {"Add", "AveragePooling2D", "BatchNormalization", "Conv2D", "Dense"}
    | {"GlobalAveragePooling2D", "InputLayer", "ReLU", "ZeroPadding2D"},
    "darts": {"Concatenate", "Cropping2D", "MaxPooling2D"},
    "lenet": {"Flatten"},
    "mobilenet": {"DepthwiseConv2D"},
    "word_lstm": {"ActivationPenalty", "Dropout", "LSTMCell", "TiedEmbedding", "WeightDropLSTM"},
}


def build(name, **options):
    return models.build(name, **{**SMALLER.get(name, {}), **options})


@dataclasses.dataclass
class Twins:
    """A network built twice from the same seed: one that decays, and one that does not, for training."""

    name: str
    model: tf.keras.Model
    plain: tf.keras.Model
    weights: list[np.ndarray]  # of `plain`, before its training


@pytest.fixture(params=sorted(MODELS))
def name(request):
    return request.param


@pytest.fixture(scope="module", params=sorted(MODELS))
def twins(request):
    built = []
    for options in ({"weight_decay": 0.1}, {}):
        tf.keras.utils.set_random_seed(5)
        built.append(build(request.param, classes=7, **options))
    return Twins(request.param, *built, built[1].get_weights())


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


def test_outputs_are_logits_for_any_number_of_images_and_classes(twins):
    logits = twins.model(_images(twins.model))
    assert logits.shape == ((3, 4, 7) if twins.name == "word_lstm" else (3, 7))
    assert np.abs(tf.reduce_sum(logits, axis=-1) - 1).max() > 1e-3  # no softmax


def test_the_same_seed_gives_the_same_weights_and_every_layer_has_a_name_of_its_own_choosing(twins):
    for first, second in zip(twins.model.get_weights(), twins.weights):
        np.testing.assert_array_equal(first, second)
    names = [layer.name for layer in twins.model.layers]
    assert names == [layer.name for layer in twins.plain.layers]


def test_the_configuration_rebuilds_the_network(twins):
    model = twins.model
    again = tf.keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again(_images(model)), model(_images(model)))
    np.testing.assert_allclose(tf.add_n(again.losses), tf.add_n(model.losses), rtol=1e-6)
    assert len(again.losses) == len(model.losses) > 0


def _kinds(model):
    return {type(layer).__name__ for layer in model.submodules if hasattr(layer, "call")}


def test_plain_keras_saves_and_loads_it(twins, tmp_path):
    model = twins.model
    forms = ["model.keras"]
    if twins.name in SAVED:
        assert SAVED[twins.name] <= _kinds(model)
        forms.append("saved_model")
    assert _kinds(model) <= set().union(*SAVED.values())
    for form in forms:
        model.save(tmp_path / form)
        again = tf.keras.models.load_model(tmp_path / form, compile=False)
        np.testing.assert_allclose(again(_images(model)), model(_images(model)), atol=1e-6)


class EveryGradient(tf.keras.optimizers.SGD):
    """Fails where a variable has no gradient."""

    def apply_gradients(self, grads_and_vars, *args, **options):
        pairs = list(grads_and_vars)
        assert all(gradient is not None for gradient, _ in pairs)
        return super().apply_gradients(pairs, *args, **options)


def test_plain_keras_trains_it_and_an_update_decreases_the_loss_as_its_gradient_says(twins):
    """In training mode and with one small step along the gradient, which no noise can undo."""
    model = twins.plain
    images, labels = _images(model, 6), _labels(model, 6, 3)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(EveryGradient(), loss)

    def train(rate):
        """The loss before an update, and the norm of the gradient that it followed."""
        model.optimizer.learning_rate = rate
        before = [variable.numpy() for variable in model.trainable_variables]
        (value,) = model.fit(images, labels, batch_size=6, verbose=0).history["loss"]
        moves = [v.numpy() - w for v, w in zip(model.trainable_variables, before)]
        return value, np.sqrt(sum(np.sum(move**2) for move in moves)) / rate

    _, norm = train(1e-5)
    before, norm = train(1e-3 / norm)
    after, _ = train(1e-5)
    assert before - after == pytest.approx(1e-3 * norm, rel=0.2)


def test_unknown_names_and_options_list_those_that_exist(name):
    with pytest.raises(ValueError, match="no model 'vgg'; name one of .*'cifar_resnet'.*'lenet'"):
        build("vgg")
    with pytest.raises(
        ValueError, match=r"has no option \['colour'\]; its options are .*'classes'"
    ):
        build(name, colour="red")
