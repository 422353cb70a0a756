"""What a recipe makes is what it says."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from tflbt import recipes, schedules
from tflbt.callbacks import RateCurve, StepDecay, TwoPhaseSchedule, Warmup
from tflbt.data import ImageData
from tflbt.optimizers import LARS
from tflbt.recipes import build, sections
from tflbt.recipes.run import claim
from tflbt.runs.run_directory import RunDirectory
from tflbt.training import SmoothedSparseCategoricalCrossentropy


@pytest.fixture(scope="module")
def images():
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
    y = np.arange(40) % 10
    return ImageData(x, y, x[:10], y[:10], classes=10, name="synthetic")


def config_with(**values):
    config = recipes.default_config()
    with config.unlocked():
        config.model = {"name": "digits_resnet", "depth": 4, "widths": (4,)}
    config.update_from_flattened_dict(values)
    return config


def test_defaults_make_a_model_without_schedules(images):
    made = build.build(config_with(), images=images)
    assert made.schedules == []
    assert isinstance(made.model.optimizer, tf.keras.optimizers.SGD)
    assert made.train[0] is images.x_train and made.test[0].dtype == np.float32


def test_schedules_are_those_that_the_recipe_names(images):
    warm = {"warmup.epochs": 2.0, "warmup.initial_factor": 0.1}
    step = {"schedule.name": "step", "schedule.epochs": (2, 3), "schedule.factor": 0.5}
    made = build.build(config_with(**warm, **step), images=images)
    warmup, decay = made.schedules
    assert isinstance(warmup, Warmup) and (warmup.epochs, warmup.initial_factor) == (2.0, 0.1)
    assert isinstance(decay, StepDecay) and (decay.epochs, decay.factor) == ((2, 3), 0.5)

    two_phase = {"schedule.name": "two_phase", "schedule.beta": 0.25, "schedule.patience": 7}
    samples = {"schedule.curvature_samples": 16}
    (schedule,) = build.build(config_with(**two_phase, **samples), images=images).schedules
    assert isinstance(schedule, TwoPhaseSchedule)
    assert (schedule.beta, schedule.patience, schedule.extra_fraction) == (0.25, 7, 1 / 3)
    assert schedule.curvature.source()[0].shape == (16, 8, 8, 1)
    # By default one large mini-batch, and a plateau from the warm-up's end on.
    config = config_with(**two_phase, **warm, batch_size=24)
    schedule = build.build(config, images=images).schedules[-1]
    assert schedule.curvature.source()[0].shape == (24, 8, 8, 1) and schedule.begin == 2.0
    config.schedule.after_warmup = False
    assert build.build_schedules(config)[-1].begin == 0.0


def test_metrics_and_eigenvalues_that_a_recipe_names(images):
    values = {"batch_size": 20, "curvature.every": 1, "curvature.blocks": ("output", "all")}
    config = config_with(**values, metrics=("accuracy", "top_5", "perplexity"))
    build.check(config)
    made = build.build(config, images=images)
    history = {name: series[-1] for name, series in made.fit([]).history.items()}
    x, y = made.test
    logits = made.model.predict(x, verbose=0)
    assert history["val_perplexity"] == pytest.approx(np.exp(history["val_loss"]), rel=1e-5)
    above = (logits > np.take_along_axis(logits, y[:, None], 1)).sum(1)
    assert history["val_top_5"] == pytest.approx((above < 5).mean())
    assert {"eigenvalue_output", "eigenvalue_all"} <= set(history) and "eigenvalue" not in history
    assert made.monitors[0].curvature.source()[0].shape[0] == 20  # one large mini-batch
    config.metrics = ("top_1",)
    with pytest.raises(
        ValueError, match="^config.metrics='top_1' must be one of 'accuracy', 'top_5'"
    ):
        build.check(config)


CURVES = {
    "polynomial": (
        {"schedule.power": 3.0, "schedule.end_factor": 0.1},
        lambda begin: schedules.PolynomialDecay(8, 3.0, 0.1, begin),
    ),
    "cosine": (
        {"schedule.grain": "epoch", "schedule.end_factor": 0.1},
        lambda begin: schedules.CosineDecay(8, 0.1, begin, "epoch"),
    ),
    "cyclical": (
        {"schedule.length": 3.0, "schedule.lowest_factor": 0.2, "schedule.shape": "cosine"},
        lambda begin: schedules.Cyclical(3.0, 0.2, "cosine", begin),
    ),
}


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("name", CURVES)
def test_a_decay_ends_with_the_training_and_begins_where_it_is_told(name, after):
    options, curve = CURVES[name]
    warm = {"warmup.epochs": 2.5, "warmup.shape": "cosine", "schedule.after_warmup": after}
    config = config_with(**{"epochs": 8, "schedule.name": name, **warm, **options})
    build.check(config)
    warmup, decay = build.build_schedules(config)
    assert isinstance(warmup, Warmup) and warmup.curves == (schedules.CosineWarmup(2.5),)
    assert isinstance(decay, RateCurve) and decay.curves == (curve(2.5 if after else 0.0),)


def test_a_fit_follows_the_recipes_curves(images):
    """4 updates an epoch: one epoch of warm-up, then straight down to 0 at epoch 3."""
    straight = {"schedule.name": "polynomial", "schedule.power": 1.0, "warmup.epochs": 1.0}
    values = {"epochs": 3, "batch_size": 10, "optimizer.learning_rate": 0.4, **straight}
    made = build.build(config_with(**values), images=images)
    rates = []
    note = tf.keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(
            float(made.model.optimizer.learning_rate)
        )
    )
    made.fit([note])
    up, down = np.arange(1, 5) / 4, np.arange(7, -1, -1) / 8
    np.testing.assert_allclose(rates, 0.4 * np.concatenate([up, down]), rtol=1e-6, atol=1e-9)


def test_optimizers_come_from_tflbt_or_else_from_keras():
    config = recipes.default_config()
    config.optimizer = recipes.section(
        "optimizer", "LARS", learning_rate=0.5, exclude_from_adaptation=("bias",)
    )
    optimizer = sections.build(config, "optimizer")
    assert isinstance(optimizer, LARS) and float(optimizer.learning_rate) == 0.5
    with config.unlocked():
        config.optimizer = {"name": "AdamW", "weight_decay": 0.01, "clipnorm": 1.0}
    assert isinstance(sections.build(config, "optimizer"), tf.keras.optimizers.AdamW)


@pytest.mark.parametrize(("value", "kept"), [(None, None), (0.5, 0.5)])
def test_clipping_is_a_switch(value, kept):
    config = recipes.default_config()
    config.optimizer.global_clipnorm = value
    assert sections.build(config, "optimizer").global_clipnorm == kept


def test_label_smoothing_is_a_switch(images):
    plain = build.build(config_with(), images=images).model.loss
    assert type(plain) is tf.keras.losses.SparseCategoricalCrossentropy
    made = build.build(config_with(label_smoothing=0.1, epochs=1), images=images)
    assert isinstance(made.model.loss, SmoothedSparseCategoricalCrossentropy)
    assert made.model.loss.label_smoothing == 0.1 and made.model.loss.from_logits
    history = made.fit([]).history
    assert sorted(history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    logits = made.model.predict(made.test[0], verbose=0)
    wanted = tf.keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    one_hot = np.eye(10, dtype="float32")[images.y_test]
    assert history["val_loss"][0] == pytest.approx(float(wanted(one_hot, logits)), rel=1e-5)


def with_ghosts(size, **values):
    config = config_with(**values)
    config.model.ghost_batch_size = size
    return config


def test_ghost_batch_size_is_a_switch(images):
    def sizes(size):
        model = build.build_model(with_ghosts(size), images)
        return {getattr(layer, "ghost_size", None) for layer in model.layers if "bn" in layer.name}

    assert sizes(None) == {None} and sizes(5) == {5}


@pytest.mark.parametrize("split", [{"sub_batch_size": 16}, {"batch_size": 16}])
def test_no_ghost_is_larger_than_what_a_rank_computes(split):
    """Sixteen samples at a time, as the sub-batch or as the rank's whole share of the batch."""
    for size in (None, 1, 5, 16):
        build.check(with_ghosts(size, **split))
    says = "config.model.ghost_batch_size=17 is more than the 16 samples that a rank computes"
    with pytest.raises(ValueError, match=says):
        build.check(with_ghosts(17, **split))
    with pytest.raises(ValueError, match="ghost_batch_size=0 must be a whole number, at least 1"):
        build.check(with_ghosts(0, **split))


def test_a_fit_follows_the_recipe(images):
    values = {"epochs": 2, "batch_size": 20, "sub_batch_size": 10, "data.padding": 1}
    made = build.build(config_with(**values), images=images)
    history = made.fit([])
    assert sorted(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert history.epoch == [0, 1] and int(made.model.optimizer.iterations) == 4
    assert made.model.batch_size == 20


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("batch_size", 100, "batch_size=100 is not a multiple of .* use 64 or 128"),
        ("label_smoothing", 1.0, "config.label_smoothing=1.0 must be at least 0 and less than 1"),
        ("label_smoothing", -0.1, "config.label_smoothing=-0.1"),
        ("epochs", 0, "config.epochs=0 must be a whole number, at least 1"),
        ("seed", -1, "config.seed=-1 must be a whole number, between 0"),
        ("data.padding", -1, "config.data.padding=-1"),
        ("warmup.epochs", float("nan"), "config.warmup.epochs=nan must be a finite number"),
        ("warmup.epochs", float("inf"), "config.warmup.epochs=inf must be"),
        ("warmup.initial_factor", 1.5, "config.warmup.initial_factor=1.5 must be between 0 and 1"),
        (
            "warmup.shape",
            "square",
            "config.warmup.shape='square' must be one of 'linear', 'cosine'",
        ),
        ("schedule.name", "cosin", "config.schedule.name='cosin' must be one of constant, step"),
        ("checkpoint.keep", 0, "config.checkpoint.keep=0 must be a whole number, at least 1"),
        ("stall_limit", -1.0, "stall_limit=-1.0"),
        ("directions", ("margin",), "config.directions='margin' must be 'COLUMN:max' or"),
        ("precision", "float8", "config.precision='float8' must be one of 'float32', 'mixed"),
    ],
)
def test_values_that_cannot_be_are_told_by_key(key, value, says):
    with pytest.raises(ValueError, match=says):
        build.check(config_with(**{"sub_batch_size": 64, key: value}))


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("step", "schedule.epochs", ()),
        ("step", "schedule.epochs", (3, 2)),
        ("step", "schedule.factor", 2.0),
        ("polynomial", "schedule.power", 0.0),
        ("polynomial", "schedule.end_factor", -1.0),
        ("cosine", "schedule.end_factor", 1.5),
        ("cosine", "schedule.grain", "batch"),
        ("cyclical", "schedule.length", 0.0),
        ("cyclical", "schedule.lowest_factor", 2.0),
        ("cyclical", "schedule.shape", "square"),
    ],
)
def test_options_of_the_schedule_that_cannot_be_are_told_by_key(name, key, value):
    values = {"schedule.epochs": (2, 4)} if name == "step" else {}
    config = config_with(**{"epochs": 8, "schedule.name": name, **values, key: value})
    with pytest.raises(ValueError, match=f"^config.{key}={re.escape(repr(value))} must be"):
        build.check(config)


@pytest.mark.parametrize("name", ["polynomial", "cosine", "cyclical"])
def test_a_warmup_that_leaves_no_epoch_to_decay_in_is_an_error(name):
    values = {"epochs": 5, "warmup.epochs": 5.0, "schedule.name": name}
    with pytest.raises(ValueError, match="^config.warmup.epochs=5.0 must be less .*after_warmup"):
        build.check(config_with(**values))
    build.check(config_with(**values, **{"schedule.after_warmup": False}))


def test_signal_and_noise_are_of_the_recipes_batch_and_need_samples(images):
    config = config_with(**{"batch_size": 16, "signal_to_noise.every": 2})
    (monitor,) = build.build(config, images=images).monitors
    assert (monitor.batch_size, monitor.batches, monitor.every) == (16, 8, 2)
    config.signal_to_noise.samples = 100
    with pytest.raises(
        ValueError, match="^config.signal_to_noise.samples=100 must be at least 128"
    ):
        build.check(config)


def test_noise_follows_the_recipes_seed(images):
    (rule,) = build.build(config_with(**{"seed": 5, "weight_noise.std": 0.1}), images=images).rules
    assert (rule.std, rule.seed) == (0.1, 5)


def test_instances_are_compared_where_each_is_a_sub_batch():
    one_each = {"batch_augmentation.instances": 2, "batch_augmentation.placement": "rank"}
    split = {"batch_size": 32, "sub_batch_size": 16, "augmentation_scale.measure": True}
    build.check(config_with(**one_each, **split))
    for wrong in ({"sub_batch_size": 8}, {"batch_augmentation.placement": "sub_batch"}):
        with pytest.raises(ValueError, match="^config.batch_augmentation.*augmentation_scale comp"):
            build.check(config_with(**{**one_each, **split, **wrong}))


def test_noise_is_not_measured_between_instances_of_the_same_samples():
    apart = {"batch_augmentation.instances": 2, "batch_augmentation.placement": "rank"}
    config = config_with(**apart, **{"sub_batch_size": 64, "noise_scale.measure": True})
    with pytest.raises(ValueError, match="^config.batch_augmentation.placement='rank' .* leave no"):
        build.check(config)


def test_a_run_of_an_older_version_goes_on_while_new_keys_do_nothing(tmp_path):
    config = config_with()
    older = config.to_dict()
    del older["margin"]
    run = RunDirectory.create(tmp_path / "run", older)
    del run  # its lock
    assert claim(tmp_path / "run", config, resume=True).claimed
    config.margin.every = 1
    with pytest.raises(ValueError, match=r"margin.every was \(not set\), is now 1"):
        claim(tmp_path / "run", config, resume=True)
