"""The recipes of the adaptive batch size paper are its appendix A and B, and their batches really grow."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from tflbt import command_line, recipes
from tflbt.control.batch_plan import BatchPlan
from tflbt.control.grow_batch import grown
from tflbt.data import ImageData
from tflbt.recipes import build
from tflbt.recipes.strategies import STRATEGIES

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"
PLAIN, SHIFTED = {"padding": 0, "flip": False}, {"padding": 4, "flip": True}
# RandomCrop(32, padding=4) or RandomCrop(64, padding=4) before Normalize, in the authors' utils.getData.
BLACK = {**SHIFTED, "pad_with": "black"}
CROPPED = {"crop_area": (0.08, 1.0), "crop_draw": "area", "flip": True}
# Appendix A: file and prefix of its variants, training samples, epochs, learning rate, decay, augmentation, samples of
# the curvature; the largest batch of the model's table.
MODELS = {
    "S1": ("svhn_alexnet", "", 531_131, 20, 0.01, (5, 10, 15), 5, PLAIN, 128, 131_072),
    "C1": ("cifar10_resnet20", "", 50_000, 90, 0.1, (30, 60, 80), 5, PLAIN, 128, 16_000),
    "C2": ("cifar10_wrn16_4", "", 50_000, 90, 0.1, (30, 60, 80), 5, PLAIN, 128, 16_000),
    "C3": ("cifar10_squeezenext", "", 50_000, 200, 0.1, (60, 120, 160), 5, SHIFTED, 128, 16_384),
    "C4": ("cifar10_squeezenext", "wide_", 50_000, 200, 0.1, (60, 120, 160), 5, SHIFTED, 128, 4096),
    "C5": ("cifar100_resnet18", "", 50_000, 160, 0.1, (80, 120), 10, BLACK, 1024, 2048),
    "I1": ("tiny_imagenet_resnet50", "", 100_000, 120, 0.1, (60, 90), 10, BLACK, 2048, 16_384),
    "I3": ("imagenet_resnet18", "", 1_281_167, 90, 0.1, (30, 60, 80), 10, CROPPED, 4096, 16_384),
}  # fmt: skip
# Of the others cifar10 and divide_255.
DATA = {"S1": "svhn_extra", "C5": "cifar100", "I1": "tiny_imagenet", "I3": "imagenet"}
STANDARDIZE = {"C5": "per_channel", "I1": "per_channel", "I3": "imagenet"}
# Batch of the baseline, and of absa_tuned with its epochs and warm-up: section IV-C.
BASE, TUNED = {"I3": 256}, {"I3": (4096, 100, 20)}
NETWORKS = {
    "S1": {"name": "small_alexnet"},
    "C1": {"name": "cifar_resnet", "depth": 20},
    "C2": {"name": "wide_resnet", "depth": 16, "width": 4},
    "C3": {"name": "squeezenext", "width": 1.0},
    "C4": {"name": "squeezenext", "width": 2.0},
    "C5": {"name": "resnet18", "stem": "cifar"},
    "I1": {"name": "resnet50", "stem": "cifar"},
    "I3": {"name": "resnet18", "stem": "imagenet", "weight_decay": 1e-4},
}
# Tables I and III to VIII, the last row of each, and section IV-B for I3: updates of BL, FB and GG. Of S1's, 81,986 and
# 42,158 are not those of 20 epochs of 128 and of growth where its rate decays, nor are I1's 48,995.
UPDATES = {
    "S1": (None, 81, None),
    "C1": (35_156, 281, 14_383),
    "C2": (35_156, 281, 14_383),
    "C3": (78_125, 610, 28_828),
    "C4": (78_125, 2441, 29_191),
    "C5": (62_500, 3906, 33_735),
    "I1": (93_750, 732, None),
    "I3": (450_000, None, 166_000),
}
each_model = pytest.mark.parametrize("model", MODELS)


def load(model: str, strategy: str):
    file, prefix, *_ = MODELS[model]
    return recipes.load(f"{HPARAMS}/{file}.py:{prefix}{strategy}")


@each_model
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_appendix_a(model, strategy):
    _, _, _, epochs, rate, decay_epochs, ratio, augmentation, samples, largest = MODELS[model]
    config = load(model, strategy)
    base, (tuned, tuned_epochs, _) = BASE.get(model, 128), TUNED.get(model, (1920, epochs, 5))
    batch_size = {"fb": largest, "absa_tuned": tuned}.get(strategy, base)
    epochs = tuned_epochs if strategy == "absa_tuned" else epochs
    assert (config.epochs, config.batch_size, config.sub_batch_size) == (epochs, batch_size, base)
    optimizer = config.optimizer.to_dict()
    assert optimizer.pop("learning_rate") == pytest.approx(rate * batch_size / base)
    plain = recipes.section("optimizer", "SGD", momentum=0.9).to_dict()
    del plain["learning_rate"]
    assert optimizer == plain
    shortcut = {"shortcut": "B"} if model == "C1" else {}
    assert config.model == recipes.section("model", **NETWORKS[model], **shortcut)
    assert config.model.ghost_batch_size is None
    data = {"name": DATA.get(model, "cifar10"), **augmentation}
    data["standardize"] = STANDARDIZE.get(model, "divide_255")
    assert data.items() <= config.data.to_dict().items()
    if strategy == "gg":
        assert config.schedule.name == "constant"
        growth = config.batch_schedule
        assert (tuple(growth.epochs), growth.factor) == (decay_epochs, ratio)
    else:
        assert (config.schedule.name, tuple(config.schedule.epochs)) == ("step", decay_epochs)
        assert config.schedule.factor == pytest.approx(1 / ratio)
    if strategy.startswith("abs"):
        assert config.batch_schedule.curvature_samples == samples
        assert config.batch_schedule.measure_every == (65_536 if model == "S1" else None)
        assert config.batch_schedule.reference == "first_epoch"
        assert not config.batch_schedule.adversarial_at_largest  # authors: adv_ratio = 0 there


@each_model
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_appendix_b(model, strategy):
    config, largest = load(model, strategy), MODELS[model][-1]
    name = {"bl": "constant", "fb": "constant", "gg": "grow"}.get(strategy, "adaptive")
    schedule = config.batch_schedule
    assert schedule.name == name
    assert schedule.get("max_batch_size") == (None if name == "constant" else largest)
    if name == "adaptive":
        numbers = (schedule.alpha, schedule.beta, schedule.kappa, schedule.omega)
        assert numbers == (2, 2, 10, 2) and schedule.layers == "all" and schedule.tau is None
    share = 0.2 if strategy.startswith("absa") else 0.0
    assert (config.adversarial.share, config.adversarial.epsilon) == (share, 0.005)
    warm = strategy in ("fb", "absa_tuned")
    tuned_warmup = TUNED.get(model, (1920, None, 5))[2] if strategy == "absa_tuned" else 5
    assert config.warmup.epochs == (tuned_warmup if warm else 0)
    if warm:  # from the baseline's rate
        begin = config.warmup.initial_factor * config.optimizer.learning_rate
        assert begin == pytest.approx(load(model, "bl").optimizer.learning_rate)


@each_model
def test_baselines_take_the_updates_of_the_papers_tables(model):
    samples = MODELS[model][2]

    def updates(strategy):
        config, count = load(model, strategy), 0.0
        growth, batch_size = config.batch_schedule, config.batch_size
        for epoch in range(config.epochs):
            if growth.name == "grow":
                done = sum(epoch >= milestone for milestone in growth.epochs)
                batch_size, _ = grown(
                    config.batch_size, done, factor=growth.factor, step=config.sub_batch_size,
                    max_batch_size=growth.max_batch_size,
                )  # fmt: skip
            count += samples / batch_size
        return count

    for strategy, expected in zip(("bl", "fb", "gg"), UPDATES[model]):
        assert expected is None or updates(strategy) == pytest.approx(
            expected, rel=0.01 if model == "I3" else 0.003
        )


@each_model
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_batches_divide_over_ranks(model, ranks):
    for strategy in STRATEGIES:
        config = load(model, strategy)
        for size in {config.batch_size, config.batch_schedule.get("max_batch_size")} - {None}:
            BatchPlan(size, BASE.get(model, 128) // ranks, ranks)


def i2(strategy: str):
    return recipes.load(f"{HPARAMS}/imagenet_alexnet.py:{strategy}")


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "gg"])
def test_i2(strategy):
    """Appendix A, whose rate decays along a parabola, and section IV-B for the batches."""
    config = i2(strategy)
    batch_size = {"fb": 16_384, "absa_tuned": 4096}.get(strategy, 256)
    assert (config.epochs, config.batch_size, config.sub_batch_size) == (90, batch_size, 256)
    assert config.optimizer.learning_rate == pytest.approx(0.01 * batch_size / 256)
    assert {"name": "alexnet", "form": "imagenet"}.items() <= config.model.to_dict().items()
    growth = config.batch_schedule
    if strategy.startswith("abs"):
        assert (growth.name, growth.max_batch_size) == ("adaptive", 16_384)
        assert growth.curvature_samples == 4096
    else:
        assert growth.name == "constant"
    assert config.adversarial.share == (0.2 if strategy.startswith("absa") else 0)
    for ranks in (1, 2, 4, 8):
        BatchPlan(batch_size, 256 // ranks, ranks)


def test_i2s_rate_falls_quadratically_to_epoch_60_and_stays():
    config = i2("bl")
    build.check(config)
    (decay,) = build.build_schedules(config)
    rates = [0.01 * decay.curves[0].at(epoch) for epoch in (0, 30, 60, 75, 90)]
    halfway = 1e-4 + (0.01 - 1e-4) / 4
    assert rates == pytest.approx([0.01, halfway, 1e-4, 1e-4, 1e-4])
    config.warmup.epochs = 60.0
    with pytest.raises(ValueError, match="must be less than config.schedule.until=60.0"):
        build.check(config)


def mushroom(variant: str):
    return recipes.load(f"{HPARAMS}/mushroom_logistic.py:{variant}")


@pytest.mark.parametrize(
    ("variant", "batch_size", "sub_batch_size", "growth", "largest", "share"),
    [
        ("full_gradient", 6905, 6905, "constant", None, 0.0),
        ("sgd", 100, 100, "constant", None, 0.0),
        ("bl", 100, 100, "constant", None, 0.0),
        ("fb", 3200, 100, "constant", None, 0.0),
        ("gg", 100, 100, "grow", 3200, 0.0),
        ("abs", 100, 100, "adaptive", 3200, 0.0),
        ("absa", 100, 100, "adaptive", 3200, 0.2),
    ],
)
def test_mushroom_is_fig_5(variant, batch_size, sub_batch_size, growth, largest, share):
    config = mushroom(variant)
    assert (config.batch_size, config.sub_batch_size) == (batch_size, sub_batch_size)
    schedule = config.batch_schedule
    assert (schedule.name, schedule.get("max_batch_size")) == (growth, largest)
    assert config.adversarial.share == share and config.schedule.name == "constant"
    if growth == "adaptive":
        assert schedule.reference == "initialization"
    scaled = 32 if variant == "fb" else 1
    assert config.optimizer.learning_rate == pytest.approx(0.6 * scaled)
    rest = recipes.section("optimizer", "SGD", learning_rate=config.optimizer.learning_rate)
    assert config.optimizer == rest
    assert config.model == recipes.section("model", "logistic_regression", initial_weights="zeros")


def few_mushrooms(samples: int = 30) -> ImageData:
    rng = np.random.default_rng(0)
    x = 255 * rng.integers(0, 2, (samples, 1, 1, 126), np.uint8)
    y = rng.integers(0, 2, samples)
    return ImageData(x, y, x, y, 2, "mushroom")


def test_the_mushrooms_first_update_is_that_of_one_logit_with_rate_1_2():
    images = few_mushrooms()
    config = mushroom("full_gradient")
    config.epochs = 1
    made = build.build(config, images=images)
    made.fit([])
    kernel, bias = (variable.numpy() for variable in made.model.trainable_variables)
    x = images.x_train.reshape(len(images.x_train), -1) / 255
    residual = images.y_train - 0.5  # the sigmoid of 0 is 0.5
    step = 1.2 * x.T @ residual / len(x)
    np.testing.assert_allclose(kernel[:, 1] - kernel[:, 0], step, atol=1e-6)
    assert bias[1] - bias[0] == pytest.approx(1.2 * residual.mean(), abs=1e-6)


def test_the_figures_loss_is_that_of_the_whole_training_set():
    images, config = few_mushrooms(), mushroom("sgd")
    config.update_from_flattened_dict({"epochs": 1, "batch_size": 20, "sub_batch_size": 20})
    noted = runpy.run_path(str(HPARAMS / "figures" / "mushroom.py"))["Losses"](images)
    made = build.build(config, images=images)
    made.fit([noted])
    assert len(noted.values) == 1 + 2 and noted.values[0] == pytest.approx(np.log(2))
    x = images.x_train.astype("float32") / 255
    loss, _ = made.model.evaluate(x, images.y_train, verbose=0)
    assert noted.values[-1] == pytest.approx(loss, rel=1e-5)


def test_gg_grows_where_it_is_told():
    config = mushroom("gg")
    config.update_from_flattened_dict(
        {"epochs": 3, "batch_size": 2, "sub_batch_size": 2, "batch_schedule.epochs": (1, 2)}
    )
    config.update_from_flattened_dict({"batch_schedule.max_batch_size": 20})
    made = build.build(config, images=few_mushrooms())
    made.fit([])
    assert made.model.batch_size == 20
    assert int(made.model.optimizer.iterations) == 15 + 3 + 2  # 30 samples in batches of 2, 10, 20
    # 20 is 10 times 2 where 25 was due: the rate makes up for it.
    assert float(made.model.optimizer.learning_rate) == pytest.approx(0.6 * 10 / 25)


def test_absa_grows_after_every_measurement_with_kappa_1():
    config = mushroom("absa")
    values = {"epochs": 4, "batch_size": 2, "sub_batch_size": 2, "batch_schedule.max_batch_size": 8}
    config.update_from_flattened_dict({**values, "batch_schedule.kappa": 1})
    made = build.build(config, images=few_mushrooms())
    history = made.fit([]).history
    assert history["batch_size"] == [2, 4, 8, 8]
    assert history["learning_rate"] == pytest.approx([0.6, 1.2, 2.4, 2.4])
    assert made.model.adversarial_share == 0  # tau: half of the epochs
    assert int(made.model.optimizer.iterations) == 15 + 8 + 4 + 4


def test_svhn_decides_within_an_epoch():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (24, 8, 8, 3), np.uint8), np.arange(24) % 10
    config = load("S1", "abs")
    with config.unlocked():
        config.model.update({"filters": (4, 4), "units": (8, 8)})
    values = {"kappa": 1, "measure_every": 8, "max_batch_size": 8, "curvature_samples": 4}
    config.update_from_flattened_dict({"epochs": 2, "batch_size": 2, "sub_batch_size": 2})
    config.batch_schedule.update(values)
    made = build.build(config, images=ImageData(x, y, x, y, 10, "svhn_extra"))
    history = made.fit([]).history
    # With "epoch" read as 8 samples and kappa 1, growth after each: 4 updates of 2, 2 of 4, 1 of 8, in one epoch.
    assert history["batch_size"] == [8, 8]
    assert int(made.model.optimizer.iterations) == 4 + 2 + 1 + 3


@pytest.mark.parametrize(
    ("variant", "key", "value", "says"),
    [
        ("bl", "batch_schedule.name", "abs", "='abs' must be one of constant, grow, adaptive"),
        ("abs", "batch_schedule.max_batch_size", None, "=None must be at least config.batch_size="),
        ("abs", "batch_schedule.max_batch_size", 64, "=64 must be at least config.batch_size=100"),
        ("gg", "batch_schedule.max_batch_size", 64, "=64 must be at least config.batch_size=100"),
        ("gg", "batch_schedule.epochs", (), "=() must be increasing"),
        ("gg", "batch_schedule.epochs", (60, 30), "=(60, 30) must be increasing"),
        ("gg", "batch_schedule.epochs", (0, 30), "=(0, 30) must be increasing"),
        ("gg", "batch_schedule.factor", 1.0, "=1.0 must be more than 1"),
        ("abs", "batch_schedule.alpha", 1.0, "=1.0 must be more than 1"),
        ("abs", "batch_schedule.beta", 0.5, "=0.5 must be more than 1"),
        ("abs", "batch_schedule.beta", float("nan"), "=nan must be a finite number"),
        ("abs", "batch_schedule.kappa", 0, "=0 must be a whole number, at least 1"),
        ("abs", "batch_schedule.omega", 0.5, "=0.5 must be at least 1"),
        ("abs", "batch_schedule.curvature_samples", 0, "=0 must be a whole number, at least 1"),
        ("gg", "batch_schedule.epochs", ("a",), "=('a',) must be"),
        ("abs", "batch_schedule.tau", -1, "=-1 must be a whole number, at least 0, or None: half"),
        (
            "abs",
            "batch_schedule.measure_every",
            0,
            "=0 must be a whole number, at least 1, or None: every",
        ),
        ("abs", "batch_schedule.reference", "last", "='last' must be one of 'initialization', "),
        ("abs", "batch_schedule.iterations", 0, "=0 must be a whole number, at least 1"),
        ("abs", "batch_schedule.tolerance", 0.0, "=0.0 must be more than 0"),
        (
            "abs",
            "batch_schedule.method",
            "exactly",
            "='exactly' must be one of 'finite_difference'",
        ),
        (
            "abs",
            "batch_schedule.method",
            "finite_difference",
            "='finite_difference' works for layers=",
        ),
        ("absa", "adversarial.share", 1.5, "=1.5 must be between 0 and 1"),
        ("absa", "adversarial.share", -0.1, "=-0.1 must be between 0 and 1"),
        ("absa", "adversarial.epsilon", 0.0, "=0.0 must be more than 0"),
    ],
)
def test_values_that_cannot_be_are_told_by_key(variant, key, value, says):
    config = mushroom(variant)
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=f"^config.{re.escape(key + says)}"):
        build.check(config)


def given(*words: str):
    """The configuration that these words of a command line make."""
    line = ["train", f"--config={HPARAMS}/cifar10_squeezenext.py:wide_absa", *words]
    command_line.check_recipe(line)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, lock_config=True, sys_argv=line)
    values["config"].parser = command_line.RecipeParser(line)
    values(line)
    return values["config"].value


def test_the_command_line_overrides():
    config = given(
        "--config.batch_schedule.max_batch_size=2048",
        "--config.batch_schedule.tau=7",
        "--config.batch_schedule.measure_every=1000",
        "--config.batch_schedule.layers=last_2",
        "--config.batch_schedule.alpha=3",
        "--config.adversarial.share=0.5",
    )
    schedule = config.batch_schedule
    assert (schedule.max_batch_size, schedule.tau, schedule.measure_every) == (2048, 7, 1000)
    assert (schedule.layers, schedule.alpha, config.adversarial.share) == ("last_2", 3, 0.5)
    build.check(config)
    assert given("--config.batch_schedule.name=constant").batch_schedule.name == "constant"
    # Before the name that brings it, too.
    largest = "--config.batch_schedule.max_batch_size=4096"
    grow = given(
        "--config.batch_schedule.epochs=(9,)", "--config.batch_schedule.name=grow", largest
    )
    build.check(grow)
    assert tuple(grow.batch_schedule.epochs) == (9,)
    with pytest.raises(
        ValueError, match="kappa is no key .* has epochs, factor, max_batch_size, name"
    ):
        given("--config.batch_schedule.name=grow", "--config.batch_schedule.kappa=5")
    with pytest.raises(flags.IllegalFlagValueError, match="batch_schedule.kappa=often"):
        given("--config.batch_schedule.kappa=often")
    with pytest.raises(ValueError, match="config.adversarial has epsilon, share"):
        given("--config.adversarial.size=1")
