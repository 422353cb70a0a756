"""Colour jitter: equal to tf.image's ops with one number an image, and to Python's colorsys."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import ColourJitter
from tflbt.data.sample_seeds import sample_seeds
from tflbt.data.sharding import sub_batches
from tflbt.data.transforms.colour import turn_and_saturate

A2 = ColourJitter(brightness=32 / 255, hue=0.1, saturation=0.4, contrast=0.4)


def _seeds(samples, epoch=0):
    return sample_seeds(0, tf.constant(epoch), tf.range(samples))


def _images(samples, shape=(6, 5, 3)):
    images = np.random.default_rng(0).integers(0, 256, (samples, *shape)).astype(np.uint8)
    images[0, 0], images[0, 1], images[0, 2, :, 1:] = (
        0,
        255,
        images[0, 2, :, :1],
    )  # black, white, gray
    return images


def _by_tensorflow(image, brightness, hue, saturation, contrast):
    """One image, 0 .. 1, with the ops of tf.image in the paper's order."""
    image = tf.clip_by_value(tf.image.adjust_brightness(image, brightness), 0, 1)
    image = tf.image.adjust_saturation(tf.image.adjust_hue(image, hue), saturation)
    return tf.clip_by_value(tf.image.adjust_contrast(image, contrast), 0, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize(
    "jitter",
    [
        A2,
        ColourJitter(brightness=1.0),
        ColourJitter(hue=0.5),
        ColourJitter(saturation=1.0),
        ColourJitter(contrast=1.0),
    ],
)
def test_equals_tf_image_on_each_image(jitter, dtype):
    images, seeds = _images(12).astype(dtype), _seeds(12)
    jittered = jitter(images, seeds)
    assert jittered.dtype == tf.float32 and jittered.shape == images.shape
    assert jittered.numpy().min() >= 0 and jittered.numpy().max() <= 255
    for out, image, *draws in zip(jittered, images, *jitter.draws(seeds)):
        expected = _by_tensorflow(tf.cast(image, tf.float32) / 255, *draws) * 255
        np.testing.assert_allclose(out, expected, atol=0.01)


def test_hue_and_saturation_equal_colorsys():
    colours = np.random.default_rng(1).uniform(size=(64, 3))
    colours[:8] = [[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    turns, factors = np.linspace(-1, 1, 64), np.linspace(0, 3, 64)
    turned = turn_and_saturate(
        tf.constant(colours[:, :, None, None], tf.float32),
        tf.constant(turns, tf.float32),
        tf.constant(factors, tf.float32),
    )
    for out, colour, turn, factor in zip(turned.numpy(), colours, turns, factors):
        hue, saturation, value = colorsys.rgb_to_hsv(*colour)
        expected = colorsys.hsv_to_rgb((hue + turn) % 1, min(saturation * factor, 1), value)
        np.testing.assert_allclose(out[:, 0, 0], expected, atol=2e-6)


def test_nothing_to_change_changes_nothing():
    images = _images(5)
    np.testing.assert_array_equal(ColourJitter()(images, _seeds(5)), images)


def test_draws_are_uniform_over_the_ranges_and_independent():
    draws = [draw.numpy() for draw in A2.draws(_seeds(20_000))]
    ranges = [(-32 / 255, 32 / 255), (-0.1, 0.1), (0.6, 1.4), (0.6, 1.4)]
    for draw, (low, high) in zip(draws, ranges):
        counts, _ = np.histogram(draw, np.linspace(low, high, 21))
        assert counts.sum() == 20_000  # none outside
        # 19 degrees of freedom: 52 is exceeded once in ten thousand.
        assert ((counts - 1000) ** 2 / 1000).sum() < 52
    between = np.corrcoef(draws) - np.eye(4)
    assert np.abs(between).max() < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_seed_alone_decides_whatever_batch_a_sample_is_in(channels):
    images = _images(20, (32, 32, channels))
    jitter = A2 if channels == 3 else ColourJitter(brightness=0.1, contrast=0.4)
    whole = jitter(images, _seeds(20)).numpy()
    for first, last in ((0, 1), (7, 8), (3, 9)):
        part = jitter(images[first:last], _seeds(20)[first:last])
        np.testing.assert_array_equal(part, whole[first:last])
    assert (jitter(images, _seeds(20, epoch=1)).numpy() != whole).any(axis=(1, 2, 3)).all()


def test_labels_stay_in_any_split():
    images = _images(20)

    def dealt(sub_batch_size):
        parts = sub_batches(
            (images, np.arange(20)), sub_batch_size=sub_batch_size, seed=3, transform=A2
        )
        return {int(k): v for x, y in parts.as_numpy_iterator() for k, v in zip(y, x)}

    small, large = dealt(6), dealt(20)
    for number in range(20):
        np.testing.assert_array_equal(small[number], large[number])


def test_no_samples_keep_their_shape_and_the_batch_may_be_unknown():
    @tf.function(
        input_signature=[tf.TensorSpec([None, 8, 6, 3]), tf.TensorSpec([None, 2], tf.int32)]
    )
    def jittered(images, seeds):
        out = A2(images, seeds)
        assert out.shape.as_list() == [None, 8, 6, 3]
        return out

    assert jittered(tf.zeros([0, 8, 6, 3]), _seeds(0)).shape == (0, 8, 6, 3)
    assert jittered(tf.ones([3, 8, 6, 3]), _seeds(3)).shape == (3, 8, 6, 3)


def test_gray_images_have_no_hue():
    with pytest.raises(
        ValueError, match=r"^hue=0.1 and saturation=0.0 must be 0 for .* 1 channels"
    ):
        ColourJitter(hue=0.1)(tf.zeros([2, 4, 4, 1]), _seeds(2))


@pytest.mark.parametrize(
    ("name", "value"), [("brightness", -0.1), ("contrast", 1.5), ("saturation", 2.0), ("hue", 0.6)]
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}={value} must be between 0 and"):
        ColourJitter(**{name: value})
