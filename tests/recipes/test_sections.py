"""A section is a name and that class's own arguments; a name brings its keys, and every error names the key."""

from __future__ import annotations

import copy
import inspect
import warnings
from pathlib import Path

import ml_collections
import pytest
from ml_collections import config_dict

from tflbt import callbacks, models, optimizers, recipes
from tflbt.recipes import build, parts, sections

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"
OLD_FORM = Path(__file__).with_name("digits_of_old_form.py")
NAMES = [(kind, name) for kind, names in parts.SECTIONS.items() for name in names]
NAMES += [("model", name) for name in models.MODELS]
NAMES += [("optimizer", name) for name in (*optimizers.__all__, "SGD", "Adam", "Adagrad", "Lion")]


def two_phase(**values):
    config = recipes.load(f"{HPARAMS}/digits_resnet.py:two_phase")
    config.update_from_flattened_dict(values)
    return config


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_every_argument_is_a_key_with_the_constructors_default(kind, name):
    section = recipes.section(kind, name)
    part = parts.find(kind, name)
    parameters = {} if part.cls is None else inspect.signature(part.cls).parameters
    keys = {part.renamed.get(word, word) for word in parameters} - parts.SUPPLIED
    assert keys - {"kwargs", "name"} <= set(section)
    for word, parameter in parameters.items():
        key = part.renamed.get(word, word)
        if key in section and key not in ("name", "inner") and word not in part.defaults:
            default = None if parameter.default is inspect.Parameter.empty else parameter.default
            assert section[key] == default, key
    assert section.is_locked


def test_keys_without_a_value_have_their_type():
    config = recipes.default_config()
    for key, kind in (
        ("model.ghost_batch_size", int),
        ("optimizer.global_clipnorm", float),
        ("optimizer.ema_overwrite_frequency", int),
    ):
        part, _, last = key.partition(".")
        assert config[part][last] is None and config[part].get_type(last) is kind
    with pytest.raises(ValueError, match=r"^config.model.ghost_batch_size='a' must be of type int"):
        config.model.ghost_batch_size = "a"
    assert recipes.section("optimizer", "LARS").get_type("ratio_bounds") is tuple


def test_a_name_brings_the_keys_of_its_class_with_their_defaults():
    config = two_phase(**{"schedule.beta": 0.25})
    config.schedule.name = "cosine"
    assert config.schedule == recipes.section("schedule", "cosine")
    config.schedule.name = "cosine"  # which it is
    config.schedule.update({"name": "polynomial", "power": 1.0})
    assert config.schedule.power == 1.0 and config.schedule.end_factor == 0.0
    config.schedule.name = "two_phase"
    assert config.schedule.beta == 0.5


def test_another_optimizer_keeps_what_was_set():
    config = two_phase(**{"optimizer.name": "LARS"})
    assert (
        config.optimizer.learning_rate == pytest.approx(0.32) and config.optimizer.momentum == 0.9
    )
    assert config.optimizer.trust_coefficient == 0.001
    config = two_phase(**{"optimizer.name": "Adam"})  # has neither momentum nor nesterov
    with pytest.raises(
        ValueError,
        match=r"^config.optimizer.momentum=0.9 is no key of Adam: it has .*amsgrad, beta_1",
    ):
        build.check(config)


def test_a_copy_is_a_section_too():
    config = copy.deepcopy(two_phase())
    assert config == two_phase() and config.schedule.is_locked
    config.schedule.name = "cosine"
    assert config.schedule == recipes.section("schedule", "cosine")
    copied = config.copy_and_resolve_references()
    copied.schedule.name = "step"
    assert copied.schedule.factor == 0.1


def test_a_copy_forgets_no_key_that_waits_and_shares_none():
    config = two_phase(**{"optimizer.name": "Adam"})  # has no momentum
    copied = copy.deepcopy(config)
    copied.optimizer.beta_1, copied.data.flip, copied.model.ghost_batch_size = 0.5, True, 4
    with pytest.raises(ValueError, match="^config.optimizer.momentum=0.9 is no key of Adam"):
        build.check(copied)
    assert (config.optimizer.beta_1, config.data.flip) == (0.9, two_phase().data.flip)
    assert config.model.ghost_batch_size is None
    assert (copied.get("data.flip"), copied.get("nothing", 3)) == (True, 3)


def test_recipes_of_the_old_form_load():
    """Plain dictionaries for model and optimizer, placeholders, and flat keys of the schedule."""
    for row in recipes.TABLE_ROWS:
        old, new = (
            recipes.load(f"{OLD_FORM}:{row}"),
            recipes.load(f"{HPARAMS}/digits_resnet.py:{row}"),
        )
        old.name = new.name
        if new.optimizer.name == "LARS":
            for key in ("exclude_from_weight_decay", "exclude_from_adaptation"):
                assert old.optimizer[key] == ("bias", "gamma", "beta")
                old.optimizer[key] = ("bias", "norm")
        assert old == new
        build.check(old)


def test_old_recipes_may_set_keys_before_the_name_and_keys_of_other_classes(tmp_path, caplog):
    file = tmp_path / "mine.py"
    file.write_text(
        "from tflbt import recipes\n"
        "def get_config(variant='a'):\n"
        "    config = recipes.start(__file__, variant, ('a', 'b'))\n"
        "    config.schedule.beta = 0.3\n"
        "    config.schedule.name = 'two_phase'\n"
        "    config.batch_schedule.curvature_samples = 7\n"
        "    if variant == 'b': config.batch_schedule.name = 'adaptive'\n"
        "    return config\n"
    )
    config = recipes.load(f"{file}:a")
    assert config.schedule.beta == 0.3 and "curvature_samples" not in config.batch_schedule
    assert "config.batch_schedule.curvature_samples=7 is not used" in caplog.text
    build.check(config)
    assert recipes.load(f"{file}:b").batch_schedule.curvature_samples == 7


def test_what_a_file_does_to_keys_that_there_are_not_is_one_line(tmp_path):
    file = tmp_path / "mine.py"
    start = "from tflbt import recipes\ndef get_config():\n    config = recipes.start(__file__, 'lars')\n"
    file.write_text(start + "    config.schedule.colour = 1\n    return config\n")
    with pytest.raises(
        ValueError, match="mine.py, line 4: AttributeError: .*colour.* does not exist"
    ):
        recipes.load(str(file))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("epocs", "config.epocs=2 is no key of a recipe: did you mean config.epochs"),
        ("data.colour", "config.data.colour=2 is no key of a recipe: config.data has brightness, "),
        ("model.dept", "config.model.dept=2 is no key of digits_resnet: it has bn_epsilon, "),
        ("optimizer.momentun", "config.optimizer.momentun=2 is no key of SGD: it has "),
        ("schedule.beata", "config.schedule.beata=2 is no key of two_phase: it has "),
        ("warmup.lenght", "config.warmup.lenght=2 is no key of warmup: it has epochs, initial_"),
    ],
)
def test_a_key_that_a_recipe_invents_is_refused(path, says):
    config = two_phase()
    with config.unlocked():
        section, _, key = path.rpartition(".")
        (config[section] if section else config)[key] = 2
    with pytest.raises(ValueError) as error:
        build.check(config)
    assert str(error.value).startswith(says)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("schedule.method", "nonsense", "must be one of"),
        ("schedule.iterations", 0, "must be a"),
        ("schedule.beta", 1.5, "must be more than 0 and less than 1"),
        ("schedule.patience", 0, "must be a whole number, at least 1"),
        ("schedule.extra_fraction", -1.0, "must be at least 0"),
        ("schedule.min_learning_rate", -1.0, "must be at least 0"),
        ("schedule.curvature_samples", 0, "must be a whole number, at least 1"),
        ("optimizer.learning_rate", -1.0, "must be more than 0"),
        ("optimizer.learning_rate", 0.0, "must be more than 0"),
        ("optimizer.learning_rate", float("nan"), "must be more than 0"),
        ("optimizer.momentum", 2.0, "`momentum` must be between"),
        ("stability.tolerance", -1.0, "must be more than 0"),
        ("adversarial.epsilon", -1.0, "must be more than 0"),
        ("batch_augmentation.placement", "here", "must be one of"),
        ("small_loss.scope", "here", "must be one of"),
        ("noise_scale.decay", 1.0, "must be at least 0 and less than 1"),
        ("strides.radii", "mean", "must be one of"),
        ("gradient_noise.decay", -1.0, "must be at least 0"),
        ("activation_noise.place", "in", "must be one of"),
        ("warmup.shape", "square", "must be one of"),
        ("checkpoint.keep", 0, "must be a whole number, at least 1"),
        ("checkpoint.every", 0, "must be a whole number, at least 1"),
        ("model.ghost_batch_size", 0, "must be a whole number, at least 1"),
        ("model.name", "resnet", "must be one of alexnet"),
    ],
)
def test_values_that_cannot_be_are_refused_by_key(key, value, says):
    with pytest.raises(ValueError) as error:
        build.check(two_phase(**{key: value}))
    assert str(error.value).startswith(f"config.{key}={value!r}") and says in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("batch_augmentation.instances", 4, "batch_augmentation"),
        ("small_loss.share", 0.3, "small_loss"),
        ("adversarial.share", 0.2, "adversarial"),
        ("warmup.epochs", 3.0, "warmup"),
        ("noise_scale.measure", True, "noise_scale"),
        ("strides.measure", True, "strides"),
        ("weight_noise.std", 0.1, "weight_noise"),
        ("activation_noise.std", 0.1, "activation_noise"),
        ("label_noise.probability", 0.1, "label_noise"),
        ("target_noise.std", 0.1, "target_noise"),
    ],
)
def test_a_section_is_off_until_its_switch_is_on(key, value, kind):
    config = two_phase(**{"warmup.epochs": 0.0})
    assert sections.build(config, kind) is None
    config.update_from_flattened_dict({key: value})
    made = sections.build(config, kind)
    assert getattr(made, key.partition(".")[2], True) == value


def test_what_the_recipe_supplies_reaches_the_constructor():
    config = two_phase(**{"schedule.name": "polynomial", "schedule.power": 3.0})
    curve = sections.build(config, "schedule", begin=5.0, epochs=60)
    assert isinstance(curve, callbacks.RateCurve)
    assert (curve.curves[0].begin, curve.curves[0].epochs, curve.curves[0].power) == (5, 60, 3)
    config.schedule.until = 40.0
    assert sections.build(config, "schedule", begin=5.0, epochs=60).curves[0].epochs == 40


def test_lars_leaves_biases_and_normalisation_alone():
    """The roles are the variables that the patterns of the old recipes matched, in every network of ours with LARS."""
    from tflbt.optimizers import trust_ratio

    for name in ("digits_resnet", "lenet", "cifar_resnet", "wide_resnet"):
        for variable in models.build(name).trainable_variables:
            old = trust_ratio.matches(("bias", "gamma", "beta"), variable)
            assert (
                trust_ratio.matches(recipes.lars(1.0, 0.1).exclude_from_adaptation, variable) == old
            )


def test_no_such_key_or_name_of_a_section_is_listed():
    with pytest.raises(
        ValueError, match="config.schedule.beta=0.5 is no key of step: it has epochs, factor"
    ):
        recipes.section("schedule", "step", beta=0.5)
    with pytest.raises(
        ValueError, match="config.schedule.name='stop' must be one of constant, step"
    ):
        recipes.section("schedule", "stop")


def test_placeholders_and_types_are_kept():
    config = recipes.default_config()
    with config.unlocked():
        config.optimizer = {"name": "LARS", "learning_rate": 1}
        config.optimizer.global_clipnorm = config_dict.placeholder(float)
    assert config.optimizer.learning_rate == 1.0 and type(config.optimizer.learning_rate) is float
    config.optimizer.global_clipnorm = 2
    assert type(config.optimizer.global_clipnorm) is float
    assert isinstance(config.optimizer, ml_collections.ConfigDict)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "global_clipnorm" in config.optimizer.to_dict()


def test_networks_of_keras_are_sections_too():
    section = recipes.section("model", "keras.applications.MobileNet", alpha=0.5)
    assert (section.alpha, section.weights, section.ghost_batch_size) == (0.5, None, None)
    assert section.get_type("weights") is str and section.get_type("ghost_batch_size") is int
    assert "classes" not in section
    with pytest.raises(ValueError, match="config.model.name='keras.applications.Nothing' must be"):
        recipes.section("model", "keras.applications.Nothing")
