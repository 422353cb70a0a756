"""Held-out training samples: which they are, of images and of files, and a recipe that never sees the test set."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tflbt import recipes
from tflbt.callbacks.curvature_probe import load_data
from tflbt.data import ImageData, load, load_image_folder, with_holdout
from tflbt.recipes import build


def numbered(total: int, labels=None, test: int = 7, seed: int = 0) -> ImageData:
    """Images that are all different, in whose first pixels stands their number; a test set that is not a part."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 256, (total, 8, 8, 1), np.uint8)
    x[:, 0, 0, 0], x[:, 0, 1, 0] = np.arange(total) % 256, np.arange(total) // 256
    y = random.integers(0, 10, total) if labels is None else np.asarray(labels, np.int64)
    x_test = random.integers(0, 256, (test, 8, 8, 1), np.uint8)
    return ImageData(x, y, x_test, random.integers(0, 10, test), classes=10, name="numbered")


def numbers(images: np.ndarray) -> np.ndarray:
    """Where images of `numbered` were in the training set."""
    return images[:, 0, 0, 0].astype(int) + 256 * images[:, 0, 1, 0].astype(int)


@pytest.mark.parametrize(
    ("total", "count"), [(2, 1), (10, 1), (10, 3), (10, 9), (1000, 1), (1000, 333), (1000, 999)]
)
def test_every_sample_is_in_exactly_one_part_with_its_label(total, count):
    images = numbered(total)
    divided = with_holdout(images, count)
    assert (len(divided.x_train), len(divided.x_test)) == (total - count, count)
    train, out = numbers(divided.x_train), numbers(divided.x_test)
    assert sorted([*train, *out]) == list(range(total))
    assert (np.diff(train) > 0).all() and (np.diff(out) > 0).all()  # in their order
    for x, y, where in (
        (divided.x_train, divided.y_train, train),
        (divided.x_test, divided.y_test, out),
    ):
        np.testing.assert_array_equal(x, images.x_train[where])
        np.testing.assert_array_equal(y, images.y_train[where])


@pytest.mark.parametrize("count", [1, 7, 100, 499, 501, 999])
def test_they_are_spread_evenly(count):
    """Gaps differ by one at most, and so do the numbers in any stretch of the training set."""
    out = numbers(with_holdout(numbered(1000), count).x_test)
    gaps = np.diff([*out, 1000 + out[0]])
    assert gaps.max() - gaps.min() <= 1
    before = np.searchsorted(out, np.arange(1001))
    assert np.abs(before - count * np.arange(1001) / 1000).max() <= 1


def test_of_sorted_data_every_class_is_held_out_by_its_share():
    labels = np.repeat(np.arange(10), [300, 20, 100, 100, 80, 150, 50, 100, 60, 40])
    divided = with_holdout(numbered(1000, labels), 100)
    np.testing.assert_array_equal(np.bincount(divided.y_test), np.bincount(labels) // 10)
    assert set(divided.y_train) == set(range(10))


def test_of_the_digits_every_class_is_held_out():
    digits = load("digits")
    divided = with_holdout(digits, 200)
    assert np.bincount(divided.y_test).min() >= 10 and np.bincount(divided.y_test).sum() == 200
    test_images = {image.tobytes() for image in digits.x_test}
    assert not any(image.tobytes() in test_images for image in (*divided.x_train, *divided.x_test))


def test_what_was_given_stays_as_it_is():
    images = numbered(20)
    copies = [array.copy() for array in (images.x_train, images.y_train, images.x_test)]
    divided = with_holdout(images, 5)
    for array, copy in zip((images.x_train, images.y_train, images.x_test), copies):
        np.testing.assert_array_equal(array, copy)
    assert (divided.classes, divided.name, divided.image_shape) == (10, "numbered", (8, 8, 1))
    again = with_holdout(images, 5)
    np.testing.assert_array_equal(again.x_test, divided.x_test)


def test_files_of_a_folder_are_held_out_too(tmp_path):
    for split, count in (("train", 20), ("val", 2)):
        for label in range(3):
            folder = tmp_path / split / f"n{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.JPEG").touch()
    images = load_image_folder(tmp_path, image_size=8)
    divided = with_holdout(images, 15)
    assert (len(divided.x_train), len(divided.x_test)) == (45, 15)
    assert sorted([*divided.x_train, *divided.x_test]) == sorted(images.x_train)
    for names, labels in ((divided.x_train, divided.y_train), (divided.x_test, divided.y_test)):
        assert [int(name.split(b"/")[1][1:]) for name in names] == labels.tolist()
    assert not any(name.startswith(b"val") for name in divided.x_test)
    assert (divided.root, divided.class_names, divided.image_size) == (
        tmp_path,
        ("n0", "n1", "n2"),
        8,
    )


@pytest.mark.parametrize("count", [0, -1, 10, 11])
def test_a_count_that_leaves_a_part_empty_is_reported(count):
    with pytest.raises(
        ValueError, match=f"^holdout={count} must be at least 1 and less than the 10"
    ):
        with_holdout(numbered(10), count)


# In a recipe.


def built(images, **values):
    config = recipes.default_config()
    with config.unlocked():
        config.model = {"name": "digits_resnet", "depth": 4, "widths": (4,)}
    config.update_from_flattened_dict(
        {"schedule.name": "two_phase", "schedule.curvature_samples": 16, **values}
    )
    build.check(config)
    return build.build(config, images=images)


def everything(recipe):
    """All samples that a built recipe trains on, evaluates on and measures curvature on."""
    some = recipe.train[0][:5]
    return [
        *recipe.train,
        *recipe.test,
        recipe.transform(some).numpy(),
        *load_data(recipe.schedules[0].curvature.source),
    ]


def test_a_recipe_with_a_holdout_never_sees_the_test_set():
    """With another test set everything is the same, the statistics of the standardisation too."""
    images = numbered(100)
    others = numbered(100, test=30, seed=1)
    other = dataclasses.replace(images, x_test=others.x_test, y_test=others.y_test)
    first, second = (
        everything(built(source, **{"data.holdout": 20})) for source in (images, other)
    )
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)
    without = [everything(built(source)) for source in (images, other)]
    assert len(without[0][2]) == 7 and len(without[1][2]) == 30


def test_a_recipe_trains_without_what_it_evaluates_on():
    images = numbered(100)
    divided = with_holdout(images, 20)
    recipe = built(images, **{"data.holdout": 20, "data.standardize": "per_channel"})
    np.testing.assert_array_equal(recipe.train[0], divided.x_train)
    np.testing.assert_array_equal(recipe.test[1], divided.y_test)
    mean, scale = divided.x_train.mean(), divided.x_train.std()  # of what is left to train on
    expected = (divided.x_test.astype("float32") - mean) / scale
    np.testing.assert_allclose(recipe.test[0], expected, rtol=1e-4, atol=1e-5)
    samples, labels = load_data(recipe.schedules[0].curvature.source)
    np.testing.assert_array_equal(labels, divided.y_train[:16])
    np.testing.assert_allclose(samples, recipe.transform(divided.x_train[:16]).numpy())


def test_a_recipe_tells_a_holdout_that_cannot_be():
    with pytest.raises(
        ValueError, match="config.data.holdout=-1 must be a whole number, at least 0"
    ):
        built(numbered(100), **{"data.holdout": -1})
    with pytest.raises(ValueError, match="holdout=100 must be at least 1 and less than the 100"):
        built(numbered(100), **{"data.holdout": 100})
