"""Spaces of a search: values set in a recipe, and slips of the pen found before the search."""

from __future__ import annotations

import keras_tuner
import ml_collections
import numpy as np
import pytest

from tflbt import recipes
from tflbt.recipes import build
from tflbt.recipes.parts import USED_WITH
from tflbt.tuning import space


@pytest.fixture
def config():
    """A recipe with the two-phase schedule."""
    made = recipes.default_config()
    with made.unlocked():
        made.optimizer = {
            "name": "LARS",
            "learning_rate": 0.5,
            "momentum": 0.9,
            "nesterov": False,
            "ratio_bounds": (0.1, 10.0),
        }
    made.schedule.name, made.epochs = "two_phase", 10
    return made


@pytest.fixture
def hp():
    return keras_tuner.HyperParameters()


def says(hp, config, text):
    with pytest.raises(ValueError) as error:
        space.check(hp, config, build.check, USED_WITH)
    assert text in str(error.value)


def test_values_are_set_in_a_copy_as_the_recipes_types(config):
    before = config.to_dict()
    values = {
        "optimizer.learning_rate": 2,
        "epochs": 20.0,
        "schedule.patience": 3.0,  # None so far
        "optimizer.nesterov": 1,
        "schedule.beta": np.float64(0.25),
        "optimizer.ratio_bounds.1": 5,
        "tuner/epochs": 7,
    }
    changed = space.apply(config, values)
    assert config.to_dict() == before
    assert changed.is_locked
    expected = config.to_dict()
    expected["optimizer"].update(learning_rate=2.0, nesterov=True, ratio_bounds=(0.1, 5.0))
    expected["schedule"].update(beta=0.25, patience=3)
    expected["epochs"] = 20
    assert changed.to_dict() == expected
    assert [type(changed.optimizer[key]) for key in ("learning_rate", "nesterov")] == [float, bool]
    assert type(changed.epochs) is type(changed.schedule.patience) is int
    assert type(changed.schedule.beta) is float
    assert [type(bound) for bound in changed.optimizer.ratio_bounds] == [float, float]


def test_elements_of_tuples_in_tuples_are_set():
    config = ml_collections.ConfigDict({"blocks": ((8, 2), (16, 1))})
    assert space.apply(config, {"blocks.1.0": 32.0}).blocks == ((8, 2), (32, 1))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("epochs", 2.5, "epochs=2.5 must be of type int"),
        ("epochs", True, "epochs=True must be of type int"),
        ("schedule.patience", 2.5, "schedule.patience=2.5 must be of type int"),
        ("schedule.beta", "half", "schedule.beta='half' must be of type float"),
        ("schedule.name", 1, "schedule.name=1 must be of type str"),
        ("optimizer.nesterov", 2, "optimizer.nesterov=2 must be of type bool"),
        ("optimizer.ratio_bounds", 2.0, "search its elements, as optimizer.ratio_bounds.0"),
        ("optimizer.ratio_bounds.2", 2.0, "(0.1, 10.0) has the elements 0 to 1"),
        ("optimizer.ratio_bounds.-1", 2.0, "(0.1, 10.0) has the elements 0 to 1"),
        ("optimizer.ratio_bounds.0.0", 2.0, "before .0 there is 0.1"),
        ("optimizer.learning_rate.x", 2.0, "before .x there is 0.5"),
        ("schedule.gamma", 2.0, "schedule.gamma is no key of this recipe: config.schedule has after_warmup, "),
        ("learning_rate", 2.0, "learning_rate is no key of this recipe: config has activation_noise, "),
        ("warmup", 2.0, "warmup is a whole section of this recipe: search its keys, as warmup.epochs"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_named(config, hp, name, value, says):
    with pytest.raises(ValueError) as error:
        space.apply(config, {name: value})
    assert str(error.value).startswith(name) and says in str(error.value)
    hp.Fixed(name, value)
    with pytest.raises(ValueError) as error:
        space.check(hp, config, build.check, USED_WITH)
    assert says in str(error.value)


def test_defaults_are_the_recipes_own(config, hp):
    hp.Float("schedule.beta", 0.3, 0.7)
    hp.Float("optimizer.ratio_bounds.1", 1.0, 20.0, sampling="log")
    hp.Int("schedule.patience", 1, 3)
    assert space.defaults(hp, config) == {
        "schedule.beta": 0.5,
        "optimizer.ratio_bounds.1": 10.0,
        "schedule.patience": None,
    }
    assert space.in_words({"a.b": 1 / 3, "c": 70000, "d": True, "e": "x", "tuner/round": 1}) == (
        "a.b=0.3333 c=70000 d=True e=x"
    )


def test_a_good_space_passes(config, hp):
    hp.Float("optimizer.learning_rate", 0.01, 10, sampling="log", default=0.5)
    hp.Float("schedule.beta", 0.3, 0.7, default=0.5)
    hp.Float("warmup.epochs", 0.0, 5.0, step=0.5)
    hp.Choice("warmup.shape", ["linear", "cosine"])
    hp.Int("batch_size", 64, 512, step=2, sampling="log")
    hp.Boolean("optimizer.nesterov")
    hp.Choice("optimizer.ratio_bounds.0", [0.01, 0.1])
    space.check(hp, config, build.check, USED_WITH)


def test_an_empty_space_is_refused(config, hp):
    says(hp, config, "The space is empty")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda hp: hp.Float("schedule.beta", 0.5, 0.5), "schedule.beta: the range 0.5 to 0.5 is empty"),
        (lambda hp: hp.Int("epochs", 5, 5), "epochs: the range 5 to 5 is empty"),
        (lambda hp: hp.Float("schedule.beta", 0.5, float("nan")), "schedule.beta: the range 0.5 to nan"),
        (lambda hp: hp.Float("optimizer.learning_rate", 1, float("inf")), "the range 1.0 to inf"),
        (lambda hp: hp.Float("schedule.beta", 0.3, 0.7, step=0.5), "schedule.beta: step=0.5 leaves one"),
        (lambda hp: hp.Float("schedule.beta", 0.3, 0.7, step=0), "schedule.beta: step=0 leaves one"),
        (lambda hp: hp.Float("schedule.beta", 0.3, 0.7, default=0.8), "schedule.beta: default=0.8 is not"),
        (lambda hp: hp.Choice("schedule.beta", [0.3, 0.5, 0.3]), "must have each value once"),
        (lambda hp: hp.Float("schedule.beta", 0.5, 1.0), "config.schedule.beta=1.0 must be more than 0 and less"),
        (lambda hp: hp.Float("schedule.beta", 0.0, 0.5), "config.schedule.beta=0.0 must be more than 0 and less"),
        (lambda hp: hp.Choice("schedule.beta", [0.3, 1.5]), "config.schedule.beta=1.5 must be more than 0 and less"),
        (lambda hp: hp.Float("optimizer.learning_rate", 0.0, 1.0), "config.optimizer.learning_rate=0.0 must be more"),
        (lambda hp: hp.Choice("optimizer.momentum", [0.9, 1.1]), "momentum=1.1 cannot be: config.optimizer.momentum="),
        (lambda hp: hp.Int("epochs", 0, 5), "epochs=0 cannot be: config.epochs=0 must be a whole number, at least 1"),
        (lambda hp: hp.Choice("optimizer.ratio_bounds.0", [0.1, 20.0]), "bounds.0=20.0 cannot be: config.optimizer."),
        (lambda hp: hp.Choice("schedule.name", ["constant", "steady"]), "schedule.name='steady' cannot be: config.sch"),
        (lambda hp: hp.Float("epochs", 1, 2.5), "epochs=2.5 must be of type int"),
    ],
)  # fmt: skip
def test_ranges_and_values_that_cannot_be_are_refused(config, hp, make, text):
    make(hp)
    says(hp, config, text)


def test_both_ends_of_steps_and_the_value_between_are_tried(config, hp):
    config.sub_batch_size = 64
    hp.Int("batch_size", 64, 1000, step=64)  # 1000 is never reached
    space.check(hp, config, build.check, USED_WITH)
    free = keras_tuner.HyperParameters()
    free.Int("batch_size", 64, 1024)
    says(free, config, "batch_size=65 cannot be: config.batch_size=65 is not a multiple")
    free = keras_tuner.HyperParameters()
    free.Int("batch_size", 64, 1024, sampling="log")
    says(free, config, "batch_size=65 cannot be")


def test_a_value_may_need_another_hyper_parameters_default(config, hp):
    config.schedule.name, config.warmup.epochs = "cosine", 8.0
    hp.Choice("epochs", [5, 10])  # 5 epochs do not go with the recipe's warm-up of 8
    says(hp, config, "epochs=5 cannot be: config.warmup.epochs=8.0 must be less than")
    hp.Choice("warmup.epochs", [1.0, 2.0])
    space.check(hp, config, build.check, USED_WITH)


@pytest.mark.parametrize(
    ("name", "values", "text", "switch"),
    [
        ("schedule.beta", [0.3, 0.5], "has epochs, factor, name", ("schedule.name", ["two_phase", "step"])),
        ("schedule.extra_fraction", [0.3, 0.5], "config.schedule has epochs, factor, name", None),
        ("schedule.end_factor", [0.3, 0.5], "has epochs, factor, name", ("schedule.name", ["cosine"])),
        ("schedule.epochs.0", [1, 2], None, None),
        ("warmup.shape", ["linear", "cosine"], "whose warmup.epochs is 0.0", ("warmup.epochs", [0.0, 1.0])),
        ("batch_schedule.kappa", [5, 10], "config.batch_schedule has name", None),
        ("batch_augmentation.placement", ["rank", "sub_batch"], "where it is more than 1",
         ("batch_augmentation.instances", [2, 4])),
        ("small_loss.scope", ["update", "sub_batch"], "whose small_loss.share is 0.0", ("small_loss.share", [0.3])),
        ("adversarial.epsilon", [0.005, 0.01], "or search adversarial.share too", ("adversarial.share", [0.2])),
        ("data.cutout_count", [1, 2], "whose data.cutout_size is 0", ("data.cutout_size", [2])),
    ],
)  # fmt: skip
def test_a_key_that_the_recipe_does_not_use_is_refused(config, hp, name, values, text, switch):
    config.schedule.name, config.schedule.epochs = "step", (3, 6)
    hp.Choice(name, values)
    if text is None:
        space.check(hp, config, build.check, USED_WITH)
        return
    used = "no key of" if name.startswith(("schedule", "batch_schedule")) else "not used by"
    says(hp, config, f"{name} is {used} this recipe")
    says(hp, config, text)
    if switch:
        hp.Choice(*switch)
        space.check(hp, config, build.check, USED_WITH)


def test_a_recipe_that_fails_by_itself_is_no_hyper_parameters_fault(config, hp):
    config.sub_batch_size = 100  # of 128
    hp.Choice("schedule.beta", [0.3, 0.5])
    with pytest.raises(
        ValueError, match="^config.batch_size=128 is not a multiple of 1 ranks x sub_batch_size=100"
    ):
        space.check(hp, config, build.check, USED_WITH)
    hp.Choice("sub_batch_size", [32, 64])
    space.check(hp, config, build.check, USED_WITH)


def test_beta_is_refused_whatever_the_schedule(config, hp):
    config.schedule.name = "constant"
    hp.Choice("schedule.name", ["constant", "two_phase"])
    hp.Choice("schedule.beta", [0.5, 1.5])
    says(hp, config, "config.schedule.beta=1.5 must be more than 0 and less than 1")


def test_a_conditional_hyper_parameter_is_tried_with_its_parents(config, hp):
    config.schedule.name = "constant"
    hp.Choice("schedule.name", ["constant", "polynomial", "two_phase"])
    with hp.conditional_scope("schedule.name", ["polynomial"]):
        hp.Choice("schedule.power", [1.0, 2.0])
    space.check(hp, config, build.check, USED_WITH)
    with hp.conditional_scope("schedule.name", ["polynomial"]):
        hp.Choice("schedule.until", [5.0, 0.0])  # only a decay must not end before it begins
    says(hp, config, "schedule.until=0.0 cannot be")


def test_a_switch_of_another_type_is_named(config, hp):
    hp.Choice("warmup.shape", ["linear", "cosine"])
    hp.Choice("warmup.epochs", ["few", "many"])
    says(hp, config, "warmup.epochs='few' must be of type float")


def test_a_name_under_two_conditions_is_refused(config, hp):
    hp.Choice("schedule.name", ["constant", "step"])
    for name in ("constant", "step"):
        with hp.conditional_scope("schedule.name", [name]):
            hp.Choice("batch_size", [64, 128])
    says(hp, config, "batch_size must stand once in a space")
