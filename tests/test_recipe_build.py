"""What a recipe makes is what it says."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt import recipe, recipe_build
from tflbt.callbacks import StepDecay, TwoPhaseSchedule, Warmup
from tflbt.data import ImageData
from tflbt.optimizers import LARS


@pytest.fixture(scope="module")
def images():
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
    y = np.arange(40) % 10
    return ImageData(x, y, x[:10], y[:10], classes=10, name="synthetic")


def config_with(**values):
    config = recipe.default_config()
    with config.unlocked():
        config.model = {"name": "digits_resnet", "depth": 4, "widths": (4,)}
    config.update_from_flattened_dict(values)
    return config


def test_defaults_make_a_model_without_schedules(images):
    made = recipe_build.build(config_with(), images=images)
    assert made.schedules == []
    assert isinstance(made.model.optimizer, tf.keras.optimizers.SGD)
    assert made.train[0] is images.x_train and made.test[0].dtype == np.float32


def test_schedules_are_those_that_the_recipe_names(images):
    warm = {"warmup.epochs": 2.0, "warmup.initial_factor": 0.1}
    step = {"schedule.name": "step", "schedule.epochs": (2, 3), "schedule.factor": 0.5}
    made = recipe_build.build(config_with(**warm, **step), images=images)
    warmup, decay = made.schedules
    assert isinstance(warmup, Warmup) and (warmup.epochs, warmup.initial_factor) == (2.0, 0.1)
    assert isinstance(decay, StepDecay) and (decay.epochs, decay.factor) == ((2, 3), 0.5)

    two_phase = {"schedule.name": "two_phase", "schedule.beta": 0.25, "schedule.patience": 7}
    samples = {"schedule.curvature_samples": 16}
    (schedule,) = recipe_build.build(config_with(**two_phase, **samples), images=images).schedules
    assert isinstance(schedule, TwoPhaseSchedule)
    assert (schedule.beta, schedule.patience, schedule.extra_fraction) == (0.25, 7, 1 / 3)
    assert schedule.curvature.data[0].shape == (16, 8, 8, 1)


def test_optimizers_come_from_tflbt_or_else_from_keras():
    config = recipe.default_config()
    with config.unlocked():
        config.optimizer = {
            "name": "LARS",
            "learning_rate": 0.5,
            "exclude_from_adaptation": ("bias",),
        }
    optimizer = recipe_build.build_optimizer(config.optimizer)
    assert isinstance(optimizer, LARS) and float(optimizer.learning_rate) == 0.5
    with config.unlocked():
        config.optimizer = {"name": "AdamW", "weight_decay": 0.01, "clipnorm": 1.0}
    assert isinstance(recipe_build.build_optimizer(config.optimizer), tf.keras.optimizers.AdamW)


def test_a_fit_follows_the_recipe(images):
    values = {"epochs": 2, "batch_size": 20, "sub_batch_size": 10, "data.padding": 1}
    made = recipe_build.build(config_with(**values), images=images)
    history = made.fit([])
    assert sorted(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert history.epoch == [0, 1] and int(made.model.optimizer.iterations) == 4
    assert made.model.batch_size == 20


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("batch_size", 100, "batch_size=100 is not a multiple of .* use 64 or 128"),
        ("epochs", 0, "config.epochs=0 must be at least 1"),
        ("seed", -1, "config.seed=-1 must be at least 0"),
        ("data.padding", -1, "config.data.padding=-1"),
        ("warmup.epochs", float("nan"), "config.warmup.epochs=nan"),
        ("schedule.name", "cosine", "config.schedule.name='cosine' must be one of constant, step"),
        ("schedule.curvature_samples", 0, "config.schedule.curvature_samples=0"),
        ("checkpoint.keep", 0, "config.checkpoint.keep=0 must be at least 1"),
        ("stall_limit", -1.0, "stall_limit=-1.0"),
        ("precision", "float8", "config.precision='float8' must be one of float32, mixed"),
    ],
)
def test_values_that_cannot_be_are_told_by_key(key, value, says):
    with pytest.raises(ValueError, match=says):
        recipe_build.check(config_with(**{"sub_batch_size": 64, key: value}))
