"""Every variant in `hparams/` loads and passes its check, and all that they are made of takes updates."""

from __future__ import annotations

import copy
import dataclasses
import functools
import runpy
from collections.abc import Iterator
from pathlib import Path

import ml_collections
import numpy as np
import pytest
import tensorflow as tf

from tflbt import recipes
from tflbt.control.batch_plan import BatchPlan
from tflbt.data import ImageData, TextData
from tflbt.recipes import build, parts
from tflbt.training import FGSM, SmallLossDiscarding

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"
FILES = sorted(HPARAMS.glob("*.py"))
IMAGE_SHAPES = {
    "digits": (8, 8, 1),
    "mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
    "cifar100": (32, 32, 3),
    "imagenet": (64, 64, 3),  # smaller than they are, for speed
    "mushroom": (1, 1, 126),
    "penn_treebank": (5,),  # words of a window
    "svhn": (32, 32, 3),
    "svhn_extra": (32, 32, 3),
    "tiny_imagenet": (32, 32, 3),
}
CLASSES = {"cifar100": 100, "mushroom": 2, "tiny_imagenet": 200}  # of the others 10
# Networks too large for these tests are tried with fewer and narrower layers.
SMALLER = {
    "alexnet": {"filters": (4, 4, 4, 4, 4), "units": (16, 16)},
    "cifar_resnet": {"depth": 8, "widths": (4, 4, 4)},
    "darts": {"cells": 2, "channels": 2},
    "densenet": {"depth": 10, "growth_rate": 2},
    "lenet": {"filters": (2, 2), "units": 8},
    "mobilenet": {"blocks": ((8, 2), (8, 1)), "alpha": 0.5},
    "resnet18": {"blocks": (1,), "widths": (4,)},
    "resnet50": {"blocks": (1,), "widths": (4,)},
    "small_alexnet": {"filters": (4, 4), "units": (8, 8)},
    "squeezenext": {"blocks": (1, 1, 1, 1), "width": 0.5},
    "vgg16": {"blocks": (1, 1, 1, 1, 1), "widths": (4, 4, 4, 4, 4), "units": (8, 8)},
    "wide_resnet": {"depth": 10, "width": 1},
    "word_lstm": {"embedding": 4, "units": 4, "layers": 2},
}


def variants_of(file: Path) -> tuple[str, ...]:
    return runpy.run_path(str(file)).get("VARIANTS", recipes.TABLE_ROWS)


VARIANTS = [(file, variant) for file in FILES for variant in variants_of(file)]
OF_THE_TABLE = [file for file in FILES if set(recipes.TABLE_ROWS) <= set(variants_of(file))]
LADDERS = [
    (file, start)
    for file in FILES
    for start in ("optimization", "full_batch")
    if {f"{start}_{number}" for number in range(5)} <= set(variants_of(file))
]


@functools.cache
def read(file: Path, variant: str) -> ml_collections.ConfigDict:
    """A recipe as it stands; to be copied before it is changed."""
    return recipes.load(f"{file}:{variant}")


def small(file: Path, variant: str) -> ml_collections.ConfigDict:
    """A recipe with a small network and few instances."""
    config = copy.deepcopy(read(file, variant))
    with config.unlocked():
        config.model.update(SMALLER.get(config.model.name, {}))
    config.batch_augmentation.instances = min(config.batch_augmentation.instances, 2)
    return config


# What runs between updates or around them, and is built for every variant.
AROUND = {
    *("name", "seed", "epochs", "batch_size", "sub_batch_size", "tail", "stall_limit"),
    *("warmup", "schedule", "batch_schedule", "checkpoint"),
    *("stability", "curvature", "margin", "signal_to_noise", "distance"),
}


def form(value: object) -> object:
    """What decides which code a value runs: of a number whether it is 0, of a count whether it is 1."""
    if isinstance(value, ml_collections.ConfigDict):
        return tuple((key, form(inner)) for key, inner in value.items())
    if isinstance(value, tuple):
        return tuple(form(inner) for inner in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value in (0, 1) else "count"
    if isinstance(value, float):
        return "number" if value else 0
    return value


def made_of(config: ml_collections.ConfigDict) -> Iterator[tuple]:
    """The parts that an update runs, and the pairs of them that meet in it.

    A network with its images' shape; an optimizer with the names of a network's variables, by which it excludes some;
    the input pipeline; what changes every update with the samples it changes; all other switches.
    """
    changing = (*parts.RULES, "label_smoothing")
    yield "network", IMAGE_SHAPES[config.data.name], form(config.model)
    yield "optimizer", config.model.name, form(config.optimizer)
    yield "data", form(config.data)
    yield "rules", config.data.name, tuple(form(config[kind]) for kind in changing)
    apart = {*AROUND, *changing, "model", "optimizer", "data"}
    yield "switches", tuple((k, form(v)) for k, v in config.items() if k not in apart)


def with_new_parts() -> list[tuple[Path, str]]:
    """The first variant of each file, and those that are made of something that none before is made of."""
    seen: set[object] = set()
    found = []
    for file, variant in VARIANTS:
        of_this = {file, *made_of(small(file, variant))}
        if not of_this <= seen:
            found.append((file, variant))
        seen |= of_this
    return found


def two_samples(name: str) -> ImageData | TextData:
    rng, shape = np.random.default_rng(0), (2, *IMAGE_SHAPES[name])
    if name == "penn_treebank":
        x, y = rng.integers(0, 10, shape, np.int32), rng.integers(0, 10, shape)
        return TextData(x, y, x, y, 10, name)
    images = rng.integers(0, 256, shape, np.uint8)
    labels = np.array([0, 1])
    return ImageData(images, labels, images, labels, CLASSES.get(name, 10), name)


each_variant = pytest.mark.parametrize(
    ("file", "variant"), VARIANTS, ids=lambda part: getattr(part, "stem", part)
)


@each_variant
def test_variant_passes_its_check_and_builds_all_but_its_network(file, variant):
    config = recipes.load(f"{file}:{variant}")
    assert config.name == f"{file.stem}:{variant}"
    assert config.is_locked
    build.check(config)
    samples = build.build_samples(config, None, two_samples(config.data.name))
    schedules = build.build_schedules(config, samples)
    named = {config.schedule.name, config.batch_schedule.name} - {"constant"}
    assert len(schedules) == len(named) + (config.warmup.epochs > 0)
    build.build_monitors(config, samples)
    switches = {kind: parts.SWITCHES[kind] for kind in parts.RULES}
    on = [kind for kind, (key, off, _) in switches.items() if config[kind][key] != off]
    assert len(build.build_rules(config, samples)) == len(on)


@pytest.mark.parametrize(
    ("file", "variant"), with_new_parts(), ids=lambda part: getattr(part, "stem", part)
)
def test_all_that_variants_are_made_of_takes_an_update(file, variant):
    """A variant that differs from one before it in rates, epochs, batches or schedules alone needs no update."""
    tf.keras.utils.set_random_seed(0)  # few units are easily all dropped
    config = small(file, variant)
    instances = config.batch_augmentation.instances
    made = build.build(config, images=two_samples(config.data.name))
    made.model.run_eagerly = True  # a graph of one step would take longer to make than to use
    x, y = made.train
    if made.transform is not None:  # likewise, and the input pipeline's of transforms
        x = made.transform(x, tf.constant([[0, 1], [2, 3]])).numpy()
    before = [weight.numpy() for weight in made.model.trainable_weights]
    shares = {FGSM: 1.0, SmallLossDiscarding: 0.5}  # so that two samples are enough to see them act
    rules = [
        dataclasses.replace(rule, share=shares[type(rule)]) if type(rule) in shares else rule
        for rule in made.rules
    ]
    # Two images at a time: of one, the gradient of a small 1x1 convolution of stride 2 breaks the heap (oneDNN).
    together = instances if config.batch_augmentation.placement == "sub_batch" else 1
    history = made.model.fit(
        x, y, batch_size=2 * instances, sub_batch_size=2 * together, epochs=1, verbose=0,
        rules=rules,
    )  # fmt: skip
    assert np.isfinite(history.history["loss"]).all()
    assert int(made.model.optimizer.iterations) == 1
    changed = [np.any(w.numpy() != b) for w, b in zip(made.model.trainable_weights, before)]
    assert np.mean(changed) >= 0.5  # two samples leave the biases of two logits at 0
    words = y.shape[1:]  # of a window; an image has one label
    assert made.model.output_shape == (None, *words, CLASSES.get(config.data.name, 10))


def test_rates_and_schedules_are_no_new_part_and_switches_are():
    config = small(HPARAMS / "digits_resnet.py", "lars")
    before = set(made_of(config))
    config.optimizer.learning_rate, config.epochs, config.schedule.name = 0.5, 7, "cosine"
    assert set(made_of(config)) == before
    for key, value in {
        "optimizer.nesterov": True, "model.ghost_batch_size": 4, "weight_noise.std": 0.1,
        "data.padding": 4, "batch_augmentation.instances": 2, "precision": "mixed_bfloat16",
    }.items():  # fmt: skip
        changed = copy.deepcopy(config)
        changed.update_from_flattened_dict({key: value})
        assert len(set(made_of(changed)) - before) == 1, key


@each_variant
def test_weights_decay_at_most_once(file, variant):
    config = read(file, variant)
    in_optimizer = config.optimizer.get("weight_decay", 0.0)
    assert not (in_optimizer and config.model.get("weight_decay", 0.0))


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["cifar10_resnet50", "imagenet_resnet50"])
def test_huge_batches_divide_over_ranks(name, ranks):
    for variant in variants_of(HPARAMS / f"{name}.py"):
        config = recipes.load(f"{HPARAMS}/{name}.py:{variant}")
        BatchPlan(config.batch_size, config.sub_batch_size, ranks)
        ghost = config.model.get("ghost_batch_size")
        assert ghost is None or config.sub_batch_size % ghost == 0


@pytest.mark.parametrize("file", OF_THE_TABLE, ids=lambda file: file.stem)
def test_weights_decay_once_and_rows_differ_as_the_table_says(file):
    rows = {row: recipes.load(f"{file}:{row}") for row in recipes.TABLE_ROWS}
    for row, config in rows.items():
        assert (config.optimizer.name == "LARS") == row.endswith("lars")
        in_optimizer = config.optimizer.get("weight_decay", 0.0)
        assert bool(in_optimizer) != bool(config.model.weight_decay), row
        assert (config.schedule.name == "two_phase") == row.startswith("two_phase")
        assert config.epochs == rows["lars"].epochs and config.data == rows["lars"].data
        assert (config.batch_size < rows["large_batch"].batch_size) == (row == "small_batch")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_unknown_variant_is_told_with_those_that_there_are(file):
    known = ", ".join(variants_of(file))
    with pytest.raises(
        ValueError, match=f"{file.name} has no variant 'nothing': use one of {known}"
    ):
        recipes.load(f"{file}:nothing")
    assert recipes.load(str(file)).name in [f"{file.stem}:{name}" for name in variants_of(file)]


@pytest.mark.parametrize(
    ("variant", "batch_size", "learning_rate", "decay", "coefficient"),
    [
        ("small_batch", 128, 0.1, "step", None),
        ("large_batch", 8192, 6.4, "step", None),
        ("lars", 8192, 3.5, "step", 0.01),
        ("two_phase", 8192, 6.4, "two_phase", None),
        ("two_phase_lars", 8192, 3.5, "two_phase", 0.01),
    ],
)
def test_cifar10_resnet20_is_table_2(variant, batch_size, learning_rate, decay, coefficient):
    config = recipes.load(f"{HPARAMS}/cifar10_resnet20.py:{variant}")
    assert (config.epochs, config.batch_size, config.warmup.epochs) == (300, batch_size, 10)
    assert config.model.depth == 20 and config.optimizer.momentum == 0.9
    assert config.optimizer.learning_rate == pytest.approx(learning_rate)
    assert config.optimizer.get("trust_coefficient") == coefficient
    assert config.schedule.name == decay
    if decay == "step":
        assert (tuple(config.schedule.epochs), config.schedule.factor) == ((150, 225), 0.1)
    else:
        assert config.schedule.beta == 0.5 and config.schedule.extra_fraction == pytest.approx(
            1 / 3
        )
    images = {"name": "cifar10", "standardize": "per_pixel", "padding": 4, "flip": True}
    assert images.items() <= config.data.to_dict().items()


@pytest.mark.parametrize(("file", "start"), LADDERS, ids=lambda part: getattr(part, "stem", part))
def test_each_optimization_adds_one_thing(file, start):
    """Section 3.1 of the paper on the limit of the batch size."""
    steps = [flat(f"{file}:{start}_{number}") for number in range(5)]
    changes = [
        {key for key in {*one, *two} if one.get(key) != two.get(key)} - {"name"}
        for one, two in zip(steps, steps[1:])
    ]
    assert changes[0] == {"warmup.epochs"}
    assert changes[1] <= {"warmup.epochs", "optimizer.learning_rate"} and changes[1]
    assert changes[2] == {"label_smoothing"} and steps[3]["label_smoothing"] == 0.1
    assert {key.split(".")[0] for key in changes[3]} == {"optimizer", "model"}
    assert {key for key in changes[3] if key.startswith("model")} == {"model.weight_decay"}
    assert [step["optimizer.name"] for step in steps] == ["SGD"] * 4 + ["LARS"]
    for step in steps:
        assert step["schedule.name"] == "cosine"
        assert step["optimizer.global_clipnorm"] == 1 and step["model.ghost_batch_size"] > 1


def flat(name: str) -> dict:
    """A recipe's values by dotted keys."""

    def walk(values: dict, start: str) -> dict:
        found = {}
        for key, value in values.items():
            inner = isinstance(value, dict)
            found.update(walk(value, f"{start}{key}.") if inner else {start + key: value})
        return found

    return walk(recipes.load(name).to_dict(), "")


def test_resnet50s_on_cifar10_are_table_2():
    small, huge, full = (
        recipes.load(f"{HPARAMS}/cifar10_resnet50.py:{variant}")
        for variant in ("baseline", "optimization_0", "full_batch_0")
    )
    assert [config.batch_size for config in (small, huge, full)] == [128, 25_000, 50_000]
    assert [config.epochs for config in (small, huge, full)] == [200] * 3
    assert huge.optimizer.learning_rate == pytest.approx(0.1 * 25_000 / 128)
    assert small.model == recipes.section("model", "resnet50", stem="cifar", weight_decay=5e-4)
    assert small.optimizer == recipes.section("optimizer", "SGD", learning_rate=0.1, momentum=0.9)


def test_resnet50s_on_imagenet_are_tables_2_and_4():
    small, large, huge, full = (
        recipes.load(f"{HPARAMS}/imagenet_resnet50.py:{variant}")
        for variant in ("baseline", "batch_128k", "optimization_0", "full_batch_0")
    )
    sizes = [config.batch_size for config in (small, large, huge)]
    assert sizes == [256, 128 * 1024, 819_200]
    assert full.batch_size >= 1_281_167  # all in one update
    assert [config.epochs for config in (small, large, huge, full)] == [90] * 4
    assert (large.optimizer.learning_rate, large.optimizer.momentum) == (28, 0.94429)
    assert (large.warmup.epochs, large.schedule.name) == (25, "cosine")
    assert (large.optimizer.weight_decay, large.label_smoothing) == (0.0001, 0.1)
    assert huge.optimizer.learning_rate == pytest.approx(320)
    assert full.optimizer.learning_rate == pytest.approx(0.1 * 1_281_167 / 256)
    assert small.optimizer == recipes.section("optimizer", "SGD", learning_rate=0.1, momentum=0.9)


def test_every_recipe_has_images_to_try_it_on():
    assert {recipes.load(str(file)).data.name for file in FILES} <= set(IMAGE_SHAPES)
    assert len(FILES) >= 3
