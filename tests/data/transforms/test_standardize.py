"""Standardisation: NumPy's mean and deviation, with constant pixels kept at bay."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data.sets.digits import load_digits
from tflbt.data.transforms.standardize import MODES, fit_standardize


def _images(samples=3000):
    rng = np.random.default_rng(0)
    centre = rng.integers(60, 190, (1, 4, 5, 3))
    return (centre + rng.integers(-60, 60, (samples, 4, 5, 3))).astype(np.uint8)


def test_per_pixel_is_the_papers_formula():
    images = _images()
    standardize = fit_standardize(images)
    expected = (images - images.mean(0)) / images.std(0)
    result = standardize(images).numpy()
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=2e-6)
    np.testing.assert_allclose(result.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(result.std(0), 1, atol=1e-5)


def test_per_channel_has_one_mean_and_deviation_a_channel():
    images = _images()
    standardize = fit_standardize(images, "per_channel")
    assert standardize.mean.shape == (3,)
    expected = (images - images.mean((0, 1, 2))) / images.std((0, 1, 2))
    np.testing.assert_allclose(standardize(images).numpy(), expected, atol=2e-6)


def test_divide_255_divides_by_255():
    images = _images(10)
    result = fit_standardize(images, "divide_255")(images).numpy()
    np.testing.assert_array_equal(result, images.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("mode", MODES)
def test_pixels_from_0_to_1_give_the_same_by_pixel_mean_and_scale(mode):
    """What adversarial samples are made with; black and white give the ends of the valid inputs."""
    images = _images(50)
    standardize = fit_standardize(images, mode)
    mean, scale = standardize.pixel_mean, standardize.pixel_scale
    assert mean.shape == scale.shape == standardize.mean.shape
    assert mean.dtype == scale.dtype == np.float32
    expected = standardize(images).numpy()
    np.testing.assert_allclose((images / np.float32(255) - mean) / scale, expected, atol=1e-5)
    ends = standardize(np.stack([np.zeros([4, 5, 3], np.uint8), np.full([4, 5, 3], 255, np.uint8)]))
    low, high = (np.broadcast_to(end, [4, 5, 3]) for end in (-mean / scale, (1 - mean) / scale))
    np.testing.assert_allclose(ends[0], low, atol=1e-5)
    np.testing.assert_allclose(ends[1], high, rtol=1e-5)


def test_divide_255_leaves_pixels_from_0_to_1_as_they_are():
    standardize = fit_standardize(_images(3), "divide_255")
    assert (standardize.pixel_mean.tolist(), standardize.pixel_scale.tolist()) == ([0.0], [1.0])


def test_imagenets_statistics_of_pixels_from_0_to_1_are_the_usual_ones():
    standardize = fit_standardize(_images(3), "imagenet")
    np.testing.assert_allclose(standardize.pixel_mean, [0.485, 0.456, 0.406], rtol=1e-6)
    np.testing.assert_allclose(standardize.pixel_scale, [0.229, 0.224, 0.225], rtol=1e-6)


def test_statistics_come_from_the_training_images_only():
    images = _images()
    standardize = fit_standardize(images)
    np.testing.assert_allclose(
        standardize(images[:7]).numpy(), standardize(images).numpy()[:7], atol=0
    )


def test_constant_pixels_become_zero_and_stay_bounded_in_the_test_images():
    data = load_digits()
    assert (data.x_train.std(0) == 0).any()
    standardize = fit_standardize(data.x_train)
    train, test = standardize(data.x_train).numpy(), standardize(data.x_test).numpy()
    constant = data.x_train.std(0) == 0
    assert (train[:, constant] == 0).all()
    assert np.abs(test).max() < 12  # 16 grey levels over a quarter of a deviation of 6


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (_images(3), {"mode": "whiten"}, "^mode='whiten' must be one of 'per_pixel'"),
        (_images(3), {"floor": 0.0}, "^floor=0.0 must be more than 0"),
        (_images(3).astype(np.float32), {}, "must be uint8"),
        (np.ones([3, 2, 2, 1], np.uint8), {}, "all be one value"),
    ],
)
def test_wrong_arguments_are_named(images, options, message):
    with pytest.raises(ValueError, match=message):
        fit_standardize(images, **options)


@pytest.mark.parametrize("mode", ["per_pixel", "per_channel", "divide_255"])
def test_an_image_alone_is_what_it_is_in_a_batch(mode):
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)
    standardize = fit_standardize(images, mode)
    np.testing.assert_allclose(standardize(images[2]), standardize(images)[2], atol=1e-6)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def of_unknown_size(batch):
        return standardize(batch)

    np.testing.assert_allclose(of_unknown_size(images), standardize(images), atol=1e-6)
