"""The optimizer that a recipe names: where it is looked for, what it takes, and what is told of slips."""

from __future__ import annotations

import ml_collections
import numpy as np
import pytest
import tensorflow as tf
from ml_collections import config_dict

from tflbt import data, optimizers, recipes
from tflbt.recipes import build, sections


def section(name, **options):
    return ml_collections.ConfigDict({"name": name, **options})


def layer_wise(inner, **options):
    return section("LayerWise", inner=inner, **options)


def build_optimizer(optimizer):
    """The optimizer of a section that a recipe assigns."""
    config = recipes.default_config()
    config.optimizer = optimizer
    return sections.build(config, "optimizer")


def error_of(config):
    with pytest.raises(ValueError) as error:
        build_optimizer(config)
    return str(error.value)


# Names.


@pytest.mark.parametrize("name", optimizers.__all__)
def test_every_optimizer_of_tflbt_is_built_and_steps(name):
    options = {"inner": {"name": "Adam"}} if name == "LayerWise" else {}
    config = section(name, learning_rate=0.02, ratio_bounds=(0.0, 10.0), **options).lock()
    optimizer = build_optimizer(config)
    assert type(optimizer) is getattr(optimizers, name)
    assert float(optimizer.learning_rate) == pytest.approx(0.02)
    assert optimizer.ratio_bounds == (0.0, 10.0)
    variable = tf.Variable([3.0, -4.0])
    optimizer.apply_gradients([(tf.constant([1.0, 2.0]), variable)])
    assert variable[0] < 3 and variable[1] < -4
    assert config.name == name  # a recipe can be built twice


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Nadam", "Lion"])
def test_keras_optimizers_are_found_by_class_name(name):
    optimizer = build_optimizer(section(name, learning_rate=0.25))
    assert type(optimizer) is getattr(tf.keras.optimizers, name)
    assert float(optimizer.learning_rate) == 0.25


def test_the_prefix_tells_addons_optimizers_from_ours():
    theirs = pytest.importorskip("tensorflow_addons").optimizers
    optimizer = build_optimizer(section("tfa.LAMB", weight_decay=0.01, clipnorm=1.0))
    assert type(optimizer) is theirs.LAMB and optimizer.clipnorm == 1.0
    assert type(build_optimizer(section("LAMB"))) is optimizers.LAMB


@pytest.mark.parametrize("name", ["sgd", "Adan", "schedules", "legacy", "get", "trust_ratio", ""])
def test_an_unknown_name_is_told_with_those_that_there_are(name):
    told = error_of(section(name))
    assert told.startswith(f"config.optimizer.name={name!r} is no optimizer: use ")
    assert all(known in told for known in (*optimizers.__all__, "SGD", "Adam", "tfa.LAMB"))


def test_an_unknown_name_of_addons_is_told_with_its_key():
    pytest.importorskip("tensorflow_addons")
    told = error_of(section("tfa.Lamb"))
    assert told.startswith("config.optimizer.name='tfa.Lamb' is no optimizer of TensorFlow Addons")
    assert "LAMB" in told


def test_a_section_without_a_name_is_told():
    assert error_of(ml_collections.ConfigDict({"learning_rate": 0.1})).startswith(
        "config.optimizer needs a name"
    )


# Arguments.


@pytest.mark.parametrize("name", ["LARS", "SGD", "MedianCurvature"])
def test_an_unknown_argument_is_told_with_those_that_there_are(name):
    told = error_of(section(name, momentun=0.9))
    assert told.startswith(f"config.optimizer.momentun=0.9 is no key of {name}: it has ")
    listed = told.rstrip(".").split("it has ")[1].split(", ")
    assert {"learning_rate", "momentum", "nesterov", "clipnorm", "global_clipnorm"} <= set(listed)
    assert not {"kwargs", "name"} & set(listed) and len(set(listed)) == len(listed)


def test_what_an_optimizer_says_of_a_value_is_passed_on():
    assert error_of(section("PercentDelta", floor=1.0)).startswith(
        "config.optimizer.floor=1.0 must be"
    )


@pytest.mark.parametrize("clipping", ["clipnorm", "clipvalue", "global_clipnorm"])
@pytest.mark.parametrize("name", [*optimizers.__all__, "SGD", "tfa.LAMB"])
def test_clipping_is_an_argument_of_all(name, clipping):
    if name.startswith("tfa."):
        pytest.importorskip("tensorflow_addons")
    options = {"inner": {"name": "SGD"}} if name == "LayerWise" else {}
    config = section(name, **options)
    setattr(config, clipping, config_dict.placeholder(float))
    assert getattr(build_optimizer(config), clipping) is None
    setattr(config, clipping, 0.5)
    assert getattr(build_optimizer(config), clipping) == 0.5


# LayerWise.


def test_the_inner_optimizer_gets_the_learning_rate_and_its_own_arguments():
    inner = {"name": "SGD", "momentum": 0.5, "nesterov": True}
    optimizer = build_optimizer(layer_wise(inner, learning_rate=0.25, trust_coefficient=0.5))
    assert type(optimizer.inner) is tf.keras.optimizers.SGD
    assert (optimizer.inner.momentum, optimizer.inner.nesterov) == (0.5, True)
    assert optimizer.trust_coefficient == 0.5
    assert float(optimizer.learning_rate) == float(optimizer.inner.learning_rate) == 0.25
    default = build_optimizer(layer_wise({"name": "Adam"}))
    assert float(default.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("inner", "says"),
    [
        ({}, "config.optimizer.inner needs a name"),
        ({"momentum": 0.9}, "config.optimizer.inner needs a name"),
        ("Adam", "config.optimizer.inner='Adam' must be a section"),
        ({"name": "Adan"}, "config.optimizer.inner.name='Adan' is no optimizer: use "),
        (
            {"name": "SGD", "beta_1": 0.9},
            "config.optimizer.inner.beta_1=0.9 is no key of SGD: it has ",
        ),
        (
            {"name": "SGD", "learning_rate": 0.5},
            "config.optimizer.inner.learning_rate=0.5 must be given as config.optimizer.learning_rate",
        ),
        ({"name": "LAMB"}, "config.optimizer.inner=LAMB is layer-wise already"),
    ],
)
def test_slips_in_the_inner_section_are_told_by_key(inner, says):
    assert error_of(layer_wise(inner, learning_rate=0.1)).startswith(says)


def test_a_layer_wise_without_inner_section_and_with_the_wrong_argument():
    assert "config.optimizer.inner needs a name" in error_of(section("LayerWise"))
    told = error_of(layer_wise({"name": "SGD"}, momentum=0.9))
    assert told.startswith("config.optimizer.momentum=0.9 is no key of LayerWise: it has bound_on")


# Training.


def train_on_digits(name):
    """Eighteen updates of a small network from the same start; its losses and weights."""
    config = recipes.default_config()
    with config.unlocked():
        config.model = {"name": "digits_resnet", "depth": 4, "widths": (4,)}
        config.optimizer = {"name": name, "learning_rate": 0.1, "epsilon": 1e-6}
    config.batch_size, config.sub_batch_size, config.epochs = 240, 120, 3
    tf.keras.utils.set_random_seed(0)
    made = build.build(config, images=data.load("digits"))
    history = made.fit([]).history
    return history["loss"], made.model


def test_addons_lamb_trains_through_a_recipe_and_is_ours():
    """Both are the LAMB of the paper's last version; so nothing but rounding tells them apart."""
    pytest.importorskip("tensorflow_addons")
    losses, model = train_on_digits("tfa.LAMB")
    assert isinstance(model.optimizer, tf.keras.optimizers.legacy.Optimizer)
    assert int(model.optimizer.iterations) == 18
    assert losses[-1] < 0.85 * losses[0]
    our_losses, our_model = train_on_digits("LAMB")
    np.testing.assert_allclose(our_losses, losses, rtol=1e-4)
    for ours, theirs in zip(our_model.get_weights(), model.get_weights()):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
