"""Windows of uniform area: spread as torchvision's rule, written out, spreads them; and the same for files."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import RandomResizedCrop
from tflbt.data.sample_seeds import sample_seeds
from tflbt.data.sets.image_files import random_crops
from tflbt.data.transforms.crop_windows import area_windows

SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def get_params(random, height, width, scale, ratio):
    """torchvision.transforms.RandomResizedCrop.get_params, in NumPy's random numbers."""
    log_ratio = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        target_area = height * width * random.uniform(*scale)
        aspect_ratio = math.exp(random.uniform(*log_ratio))
        w = int(round(math.sqrt(target_area * aspect_ratio)))
        h = int(round(math.sqrt(target_area / aspect_ratio)))
        if 0 < w <= width and 0 < h <= height:
            return random.integers(0, height - h + 1), random.integers(0, width - w + 1), h, w
    in_ratio = width / height
    if in_ratio < min(ratio):
        w, h = width, int(round(width / min(ratio)))
    elif in_ratio > max(ratio):
        w, h = int(round(height * max(ratio))), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


def windows(samples, height, width, scale=SCALE, ratio=RATIO):
    seeds = sample_seeds(0, tf.constant(0), tf.range(samples))
    crop = RandomResizedCrop(area=scale, aspect=ratio, draw="area")
    return crop.windows(seeds, height, width).numpy()


def distance(first, second):
    """Kolmogorov and Smirnov's distance of two samples' distributions."""
    at = np.union1d(first, second)
    shares = [np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (first, second)]
    return np.abs(shares[0] - shares[1]).max()


@pytest.mark.parametrize(("height", "width"), [(224, 224), (375, 500), (40, 200)])
def test_windows_are_spread_as_torchvisions(height, width):
    """40 x 200 is so wide that one window in three is the fallback."""
    samples, random = 4000, np.random.default_rng(1)
    ours = windows(samples, height, width)
    theirs = np.array([get_params(random, height, width, SCALE, RATIO) for _ in range(samples)])
    bound = 2.2 * math.sqrt(2 / samples)  # exceeded once in ten thousand
    for column in range(4):
        assert distance(ours[:, column], theirs[:, column]) < bound
    assert distance(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]) < bound
    assert distance(ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2]) < bound
    assert (ours >= 0).all() and (ours[:, :2] + ours[:, 2:] <= [height, width]).all()


def test_areas_are_distributed_evenly_and_the_ops_are_not():
    """Section 3.2 of `batch-augmentation.txt`: evenly between 8% and 100%; the largest do not fit an aspect."""
    areas = windows(20_000, 224, 224)[:, 2:].prod(axis=1) / 224**2
    counts, _ = np.histogram(areas, np.linspace(0.08, 0.73, 14))  # below 3/4 every aspect fits
    assert np.abs(counts / counts.mean() - 1).max() < 0.15
    assert areas.mean() == pytest.approx(0.482, abs=0.006)
    assert (areas < 0.25).mean() == pytest.approx(0.21, abs=0.01)
    seeds = sample_seeds(0, tf.constant(0), tf.range(20_000))
    op = RandomResizedCrop().windows(seeds, 224, 224).numpy()[:, 2:].prod(axis=1) / 224**2
    assert op.mean() == pytest.approx(0.403, abs=0.006)
    assert (op < 0.25).mean() == pytest.approx(0.34, abs=0.015)


@pytest.mark.parametrize(
    ("height", "width", "ratio"), [(10, 40, (0.5, 2.0)), (41, 10, (0.5, 2.0)), (20, 25, (2.0, 3.0))]
)
def test_where_nothing_fits_the_largest_centred_window_is_taken(height, width, ratio):
    expected = get_params(np.random.default_rng(0), height, width, (1.0, 1.0), ratio)
    assert (windows(9, height, width, (1.0, 1.0), ratio) == expected).all()


def test_files_are_cropped_by_the_same_windows(tmp_path):
    """Squares of a quarter of 8 x 8 pixels, read at their own size: the pixels are those of the window."""
    image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    (tmp_path / "a.png").write_bytes(tf.io.encode_png(image).numpy())
    seeds = sample_seeds(0, tf.constant(0), tf.range(6))
    paths = tf.fill([6], str(tmp_path / "a.png"))
    crops = random_crops(paths, seeds, 4, (0.25, 0.25), (1.0, 1.0), draw="area").numpy()
    places = area_windows(seeds, 8, 8, (0.25, 0.25), (1.0, 1.0)).numpy()
    assert len({tuple(place) for place in places}) > 3
    for crop, (top, left, height, width) in zip(crops, places):
        np.testing.assert_array_equal(crop, image[top : top + height, left : left + width])
