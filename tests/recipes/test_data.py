"""What a recipe says about samples becomes the transforms it means, in their order; what cannot be is told by key."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from tflbt import recipes
from tflbt.data import (
    ColourJitter,
    Cutout,
    ImageData,
    PadCropFlip,
    RandomResizedCrop,
    TextData,
    chain,
)
from tflbt.data.sample_seeds import sample_seeds
from tflbt.recipes import build
from tflbt.recipes import data as recipe_data


def config_with(**values):
    config = recipes.default_config()
    config.update_from_flattened_dict({key.replace("__", "."): v for key, v in values.items()})
    return config


def images(samples: int = 6) -> ImageData:
    x = np.random.default_rng(0).integers(0, 256, (samples, 16, 16, 3), np.uint8)
    y = np.arange(samples) % 2
    return ImageData(x, y, x, y, 2, "two")


def test_transforms_come_in_their_order():
    config = config_with(
        data__crop_area=(0.3, 1.0), data__brightness=0.1, data__hue=0.1, data__saturation=0.4,
        data__contrast=0.4, data__padding=2, data__flip=True, data__cutout_size=4,
        data__cutout_count=2, data__standardize="per_channel",
    )  # fmt: skip
    samples = recipe_data.build_samples(config, source=images())
    expected = chain(
        RandomResizedCrop(area=(0.3, 1.0)), ColourJitter(0.1, 0.4, 0.4, 0.1), samples.standardize,
        PadCropFlip(2, True), Cutout(4, 2),
    )  # fmt: skip
    seeds = sample_seeds(1, tf.constant(0), tf.range(6))
    found = samples.transform(images().x_train, seeds)
    np.testing.assert_array_equal(found, expected(images().x_train, seeds))
    # The test images, and those of the curvature, are standardised and nothing else.
    np.testing.assert_array_equal(samples.test[0], samples.standardize(images().x_test))
    np.testing.assert_array_equal(samples.first(2)[0], samples.test[0][:2])


def test_the_pad_is_black_or_the_mean_pixel():
    """PyTorch's codes pad an image and normalise it then: black is -mean / deviation; else the pad is 0."""
    white = np.full((2, 8, 8, 3), 255, np.uint8)
    white[1] = 55  # mean 155, deviation 100
    both = ImageData(white, np.arange(2), white, np.arange(2), 2, "two")
    for pad_with, expected in (("black", [-1.55, -1, 1]), ("mean", [-1, 0, 1])):
        config = config_with(data__standardize="per_channel", data__padding=4)
        config.data.pad_with = pad_with
        build.check(config)
        samples = recipe_data.build_samples(config, source=both)
        x = samples.transform(
            np.tile(white, (8, 1, 1, 1)), sample_seeds(1, tf.constant(0), tf.range(16))
        )
        np.testing.assert_allclose(np.unique(x), expected, atol=1e-6)


def test_nothing_asked_for_is_standardisation_alone():
    samples = recipe_data.build_samples(config_with(), source=images())
    assert samples.transform is samples.standardize


def test_text_is_taken_as_it_is():
    x = np.arange(12, dtype=np.int32).reshape(4, 3) % 5
    text = TextData(x, x.astype("int64"), x, x.astype("int64"), 5, "words", tuple("abcde"))
    samples = recipe_data.build_samples(config_with(), source=text)
    assert samples.standardize is None and samples.transform is None
    assert samples.first(2)[0] is not None and samples.test == (text.x_test, text.y_test)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("data.padding", -1, "data.padding=-1 must be a whole number, between 0 and 100000"),
        (
            "data.cutout_size",
            -1,
            "data.cutout_size=-1 must be a whole number, between 1 and 100000",
        ),
        ("data.crop_area", (0.1,), "data.crop_area=(0.1,) must be two shares"),
        ("data.crop_area", (2.0, 3.0), "data.crop_area=(2.0, 3.0) must be"),
        ("data.crop_draw", "even", "data.crop_draw='even' must be one of 'op', 'area'"),
        ("data.pad_with", "grey", "data.pad_with='grey' must be one of 'mean', 'black'"),
        ("data.brightness", -1.0, "data.brightness=-1.0 must be"),
        ("data.hue", 3.0, "data.hue=3.0 must be"),
        ("batch_augmentation.instances", 3, "batch_augmentation.instances=3 in one sub-batch"),
        ("batch_augmentation.placement", "x", "batch_augmentation.placement='x' must be one of"),
        ("small_loss.share", 1.0, "small_loss.share=1.0 must be at least 0 and less than 1"),
        ("small_loss.scope", "rank", "small_loss.scope='rank' must be one of"),
        (
            "stability.every",
            -1,
            "stability.every=-1 must be a whole number, at least 1; or 0 for none",
        ),
    ],
)
def test_values_that_cannot_be_are_told_by_key(key, value, says):
    config = recipes.default_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=f"^config.{re.escape(says)}"):
        build.check(config)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("first_batch_size", None, "first_batch_size=None must be given"),
        ("first_batch_size", 100, "first_batch_size=100 is not a multiple of"),
        ("first_learning_rate", 0.0, "first_learning_rate=0.0 must be more than 0"),
        ("first_epochs", 0, "first_epochs=0 must be a whole number"),
        ("first_batch_size", 0, "first_batch_size=0 must be a"),
    ],
)
def test_the_first_epochs_batch_is_checked_early(key, value, says):
    config = config_with(sub_batch_size=64, batch_schedule__name="first_epochs")
    config.batch_schedule.first_batch_size = 64
    config.update_from_flattened_dict({f"batch_schedule.{key}": value})
    with pytest.raises(ValueError, match=f"^config.batch_schedule.{re.escape(says)}"):
        build.check(config)


def test_a_recipe_fits_what_it_says():
    """All of them at once: the batch of the first epoch, instances, discarding, and the stability monitor."""
    config = config_with(
        epochs=2, batch_size=8, sub_batch_size=2, batch_schedule__name="first_epochs",
        batch_augmentation__instances=2, small_loss__share=0.5, small_loss__scope="update",
        small_loss__epochs=1, stability__every=1, stability__batches=2, stability__batch_size=2,
    )  # fmt: skip
    config.batch_schedule.update({"first_batch_size": 4, "first_learning_rate": 0.05})
    with config.unlocked():
        config.model = {"name": "logistic_regression"}
    build.check(config)
    made = build.build(config, images=images())
    history = made.fit([]).history
    assert int(made.model.optimizer.iterations) == 3 + 2  # 12 instances in batches of 4, then 8
    assert made.model.samples_seen == 24
    assert np.isfinite(history["stability_eigenvalue"]).all()
    assert history["stability_limit"] == pytest.approx([2 / 0.05, 2 / 0.1])
