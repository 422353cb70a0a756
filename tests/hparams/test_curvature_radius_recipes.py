"""The recipes of `curvature-radius.txt` are its figures 10 to 14 and 16, and train as they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tflbt import recipes
from tflbt.control.batch_plan import BatchPlan
from tflbt.data import ImageData
from tflbt.recipes import build

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"


def load(variant: str):
    return recipes.load(f"{HPARAMS}/cifar10_alexnet.py:{variant}")


@pytest.mark.parametrize("batch_size", [2000, 8000])
def test_figure_10_differs_in_the_discarded_samples_alone(batch_size):
    baseline, ours = load(f"batch_{batch_size}"), load(f"discard_{batch_size}")
    assert baseline.batch_size == batch_size and baseline.small_loss.share == 0
    discarding = {"share": 0.3, "epochs": 100, "scope": "update"}
    assert ours.small_loss.to_dict() == discarding
    baseline.small_loss.update(discarding)
    baseline.name = ours.name
    assert ours.to_dict() == baseline.to_dict() and ours.epochs > 100


def test_figures_11_to_14_differ_in_the_first_epoch_alone():
    baseline, ours = load("batch_8192"), load("first_epoch_8192")
    assert (baseline.batch_size, baseline.optimizer.learning_rate) == (8192, 0.05)
    first = ours.batch_schedule
    assert (first.name, first.first_batch_size, first.first_epochs) == ("first_epochs", 512, 1)
    assert first.first_learning_rate == 0.005
    baseline.batch_schedule = ours.batch_schedule
    baseline.name = ours.name
    assert ours.to_dict() == baseline.to_dict()


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_batches_divide_over_ranks(ranks):
    for variant in ("batch_2000", "discard_8000", "batch_8192", "first_epoch_8192"):
        config = load(variant)
        first = variant.startswith("first")
        plan = BatchPlan(config.batch_size, 512 // ranks if first else config.sub_batch_size, ranks)
        if first:
            plan.with_batch_size(config.batch_schedule.first_batch_size)
    for variant in ("median_curvature", "lars"):
        config = recipes.load(f"{HPARAMS}/cifar10_resnet18.py:{variant}")
        BatchPlan(config.batch_size, config.sub_batch_size, ranks)


def test_figure_16_differs_in_the_rule_alone():
    median, lars = (
        recipes.load(f"{HPARAMS}/cifar10_resnet18.py:{variant}").to_dict()
        for variant in ("median_curvature", "lars")
    )
    assert median["batch_size"] == 1024 and median["model"]["name"] == "resnet18"
    ours, theirs = median.pop("optimizer"), lars.pop("optimizer")
    assert ours.pop("name") == "MedianCurvature"
    assert (theirs.pop("name"), theirs["trust_coefficient"]) == ("LARS", 1)
    shared = set(ours) & set(theirs)
    assert {"learning_rate", "momentum", "weight_decay", "exclude_from_adaptation"} <= shared
    assert all(ours[key] == theirs[key] for key in shared)
    assert median.pop("name") != lars.pop("name")
    assert median == lars


def test_the_first_epoch_has_its_batch_and_rate():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (24, 16, 16, 3), np.uint8), np.arange(24) % 10
    config = load("first_epoch_8192")
    with config.unlocked():
        config.model.update({"filters": (4, 4, 4, 4, 4), "units": (8, 8)})
    config.update_from_flattened_dict({"epochs": 2, "batch_size": 12, "sub_batch_size": 6})
    config.batch_schedule.first_batch_size = 6
    made = build.build(config, images=ImageData(x, y, x, y, 10, "cifar10"))
    made.model.run_eagerly = True
    seen = []

    def note(epoch, logs):
        optimizer, size = made.model.optimizer, made.model.batch_size
        seen.append((size, int(optimizer.iterations), float(optimizer.learning_rate)))

    made.fit([tf.keras.callbacks.LambdaCallback(on_epoch_end=note)])
    (first, updates, rate), (then, all_updates, full_rate) = seen
    assert (first, updates, then, all_updates) == (6, 4, 12, 4 + 2)
    assert (rate, full_rate) == pytest.approx((0.005, 0.05))
