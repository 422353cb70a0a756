"""Random windows: spread as TensorFlow's op spreads them, resized as tf.image.resize does, inside the image."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import RandomResizedCrop
from tflbt.data.sample_seeds import sample_seeds
from tflbt.data.sharding import sub_batches
from tflbt.data.transforms.random_resized_crop import AREA, ASPECT, DRAWS, resized_windows

HEIGHT, WIDTH = 200, 300


def _seeds(samples, epoch=0):
    return sample_seeds(0, tf.constant(epoch), tf.range(samples))


def _windows(samples, **ranges):
    return RandomResizedCrop(**ranges).windows(_seeds(samples), HEIGHT, WIDTH).numpy()


def _by_tensorflow(samples, area, aspect):
    def window(seed):
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.constant([HEIGHT, WIDTH, 3]),
            tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            seed,
            min_object_covered=0.0,
            aspect_ratio_range=aspect,
            area_range=area,
            max_attempts=DRAWS,
        )
        return tf.concat([begin[:2], size[:2]], axis=0)

    return tf.function(tf.map_fn)(window, _seeds(samples)).numpy()


def _distance(first, second):
    """Kolmogorov and Smirnov's distance of two samples' distributions."""
    at = np.union1d(first, second)
    shares = [np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (first, second)]
    return np.abs(shares[0] - shares[1]).max()


@pytest.mark.parametrize(
    ("area", "aspect"), [(AREA, ASPECT), ((0.5, 1.0), (1.0, 1.4)), ((0.9, 1.0), (0.75, 2.0))]
)
def test_windows_are_spread_as_by_the_op_that_files_are_read_with(area, aspect):
    samples = 1000
    ours = _windows(samples, area=area, aspect=aspect)
    theirs = _by_tensorflow(samples, area, aspect)
    # Exceeded once in ten thousand: 2.2 * sqrt(2 / samples); and a pixel's rounding at ranges 10 pixels wide.
    bound = 2.2 * np.sqrt(2 / samples)
    for side in (2, 3):
        assert _distance(ours[:, side], theirs[:, side]) < bound + 0.02
    whole = [(windows[:, 2:] == [HEIGHT, WIDTH]).all(axis=1).mean() for windows in (ours, theirs)]
    assert abs(whole[0] - whole[1]) < 0.04


def test_windows_are_inside_and_of_the_area_and_aspect_announced():
    tops, lefts, heights, widths = _windows(5000).T
    assert tops.min() >= 0 and lefts.min() >= 0
    assert (tops + heights).max() == HEIGHT and (lefts + widths).max() == WIDTH
    areas, aspects = heights * widths / (HEIGHT * WIDTH), widths / heights
    assert 0.075 < areas.min() < 0.09 and 0.85 < areas.max() < 0.9  # 4/3 of 3/2 at most
    assert 0.73 < aspects.min() < 0.77 and 1.31 < aspects.max() < 1.36
    # Aspect ratios are uniform: a tenth of them in each tenth of the range.
    counts, _ = np.histogram(aspects, np.linspace(3 / 4, 4 / 3, 11))
    assert np.abs(counts - 500).max() < 5 * np.sqrt(450)


def test_all_places_are_equally_likely():
    windows = RandomResizedCrop(area=(0.25, 0.25), aspect=(1, 1)).windows(_seeds(9000), 8, 8)
    assert (windows.numpy()[:, 2:] == 4).all()
    counts = np.bincount(windows.numpy()[:, 0] * 5 + windows.numpy()[:, 1], minlength=25)
    # 24 degrees of freedom: 59 is exceeded once in ten thousand.
    assert len(counts) == 25 and ((counts - 360) ** 2 / 360).sum() < 59


def test_where_no_ratio_fits_the_whole_image_is_taken():
    windows = RandomResizedCrop(area=(1.0, 1.0), aspect=(1.1, 1.3)).windows(_seeds(50), 8, 8)
    assert (windows.numpy() == [0, 0, 8, 8]).all()


@pytest.mark.parametrize("side", [1, 2, 31])
def test_windows_that_fit_exactly_do_fit(side):
    square = RandomResizedCrop(area=(1.0, 1.0), aspect=(1.0, 1.0))
    assert (square.windows(_seeds(9), side, side).numpy() == [0, 0, side, side]).all()
    tall = RandomResizedCrop(area=(0.5, 0.5), aspect=(0.5, 0.5)).windows(_seeds(9), 60, 60)
    assert (tall.numpy()[:, 2:] == [60, 30]).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("sides", [(6, 6), (1, 1), (9, 4), (20, 25)])
def test_resizing_is_tensorflows(sides, dtype):
    images = np.random.default_rng(0).integers(0, 255, (5, 12, 15, 3)).astype(dtype)
    windows = np.array([[0, 0, 12, 15], [3, 2, 6, 9], [11, 14, 1, 1], [0, 5, 12, 4], [2, 0, 9, 1]])
    resized = resized_windows(images, windows, sides)
    assert resized.dtype == tf.float32 and resized.shape == (5, *sides, 3)
    np.testing.assert_allclose(resized[0], tf.image.resize(images[0], sides), atol=0.01)
    for out, image, (top, left, height, width) in zip(resized.numpy(), images, windows):
        expected = tf.image.resize(image[top : top + height, left : left + width], sides).numpy()
        # Half a pixel from the border of a window of fewer pixels than come out, its neighbours are mixed in.
        rows, columns = (
            slice(side // span, -(side // span) or None) if side > span else slice(None)
            for side, span in zip(sides, (height, width))
        )
        np.testing.assert_allclose(out[rows, columns], expected[rows, columns], atol=0.01)


def test_sizes_and_types():
    seeds = _seeds(4)
    images = np.random.default_rng(0).integers(0, 255, (4, 10, 14, 3)).astype(np.uint8)
    as_before = RandomResizedCrop()(images, seeds)
    assert as_before.shape == (4, 10, 14, 3) and as_before.dtype == tf.float32
    assert RandomResizedCrop(5)(images, seeds).shape == (4, 5, 5, 3)
    assert as_before.numpy().min() >= 0 and as_before.numpy().max() <= 255
    low = RandomResizedCrop(5)(tf.cast(images, tf.bfloat16), seeds)
    assert low.dtype == tf.float32
    constant = RandomResizedCrop(7)(tf.fill([4, 6, 9, 1], 3.5), seeds)
    np.testing.assert_allclose(constant, 3.5, rtol=1e-6)


def test_the_seed_alone_decides_and_labels_stay():
    images = np.random.default_rng(0).integers(0, 255, (20, 16, 16, 3)).astype(np.uint8)
    crop = RandomResizedCrop(8)
    whole = crop(images, _seeds(20)).numpy()
    np.testing.assert_array_equal(crop(images[7:8], _seeds(20)[7:8]), whole[7:8])
    assert (crop(images, _seeds(20, epoch=1)).numpy() != whole).any(axis=(1, 2, 3)).all()

    def dealt(sub_batch_size):
        parts = sub_batches(
            (images, np.arange(20)), sub_batch_size=sub_batch_size, seed=3, transform=crop
        )
        return {int(k): v for x, y in parts.as_numpy_iterator() for k, v in zip(y, x)}

    small, large = dealt(6), dealt(20)
    for number in range(20):
        np.testing.assert_array_equal(small[number], large[number])


def test_no_samples_keep_their_shape_and_the_batch_may_be_unknown():
    @tf.function(
        input_signature=[tf.TensorSpec([None, 8, 6, 3]), tf.TensorSpec([None, 2], tf.int32)]
    )
    def cropped(images, seeds):
        return RandomResizedCrop(4)(images, seeds)

    assert cropped(tf.zeros([0, 8, 6, 3]), _seeds(0)).shape == (0, 4, 4, 3)
    assert cropped(tf.ones([3, 8, 6, 3]), _seeds(3)).shape == (3, 4, 4, 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": 0}, "^size=0 must be a whole number, at least 1, or None"),
        ({"area": (0.0, 1.0)}, r"area=\(0.0, 1.0\) must be"),
        ({"area": (0.5, 1.1)}, r"area=\(0.5, 1.1\) must be"),
        ({"area": (0.5, 0.4)}, r"area=\(0.5, 0.4\) must be"),
        ({"aspect": (2.0, 1.0)}, r"aspect=\(2.0, 1.0\) must be"),
        ({"aspect": (1.0,)}, r"aspect=\(1.0,\) must be"),
        ({"draw": "even"}, "draw='even' must be one of 'op', 'area'"),
    ],
)
def test_impossible_ranges_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        RandomResizedCrop(**arguments)
