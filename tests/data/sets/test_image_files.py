"""Crops of image files: equal to decoding and cutting by hand, the same for a seed, and failures named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import sample_seeds
from tflbt.data.sets import image_files
from tflbt.data.sets.image_files import (
    centre_crops,
    random_crops,
    resized_random_crops,
    unreadable_named,
)
from tflbt.data.sharding import one_epoch


def _seeds(samples, epoch=0):
    return sample_seeds.sample_seeds(0, tf.constant(epoch), tf.range(samples))


def _ramp(height, width):
    """An image whose red tells the row and whose green tells the column, so that a crop tells its window."""
    rows, columns = np.meshgrid(
        np.linspace(0, 255, height), np.linspace(0, 255, width), indexing="ij"
    )
    return np.stack([rows, columns, np.full_like(rows, 128)], axis=-1).astype(np.uint8)


@pytest.fixture
def files(tmp_path):
    """A JPEG of each of some sizes, a gray one, and a PNG with a JPEG's name."""
    written = {
        "wide.JPEG": tf.io.encode_jpeg(_ramp(60, 200), quality=100, chroma_downsampling=False),
        "tall.JPEG": tf.io.encode_jpeg(_ramp(150, 40), quality=100, chroma_downsampling=False),
        "tiny.JPEG": tf.io.encode_jpeg(_ramp(5, 3), quality=100),
        "gray.JPEG": tf.io.encode_jpeg(_ramp(64, 64)[..., :1], quality=100),
        "png.JPEG": tf.io.encode_png(_ramp(90, 70)),
    }
    for name, contents in written.items():
        (tmp_path / name).write_bytes(contents.numpy())
    return [str(tmp_path / name) for name in written]


def test_the_centre_is_that_of_an_image_whose_shorter_side_is_eight_sevenths(files):
    crops = centre_crops(files, 28).numpy()
    assert crops.shape == (5, 28, 28, 3) and crops.dtype == np.float32
    png = tf.image.resize(_ramp(90, 70), [round(90 * 32 / 70), 32])  # 41 x 32
    np.testing.assert_allclose(crops[4], png[6 : 6 + 28, 2 : 2 + 28], atol=1e-3)
    # In the wide image the centre spans 28/32 of the rows and (28/32) * (60/200) of the columns.
    spans = np.ptp(crops[0], axis=(0, 1))[:2] / 255
    np.testing.assert_allclose(spans, [28 / 32, 28 / 32 * 60 / 200], atol=0.04)
    np.testing.assert_array_equal(crops[3][..., 0], crops[3][..., 2])


def test_a_random_crop_is_the_resized_window_of_the_decoded_image(files):
    seeds = _seeds(5)
    crops = random_crops(files, seeds, 16).numpy()
    for path, seed, crop in zip(files, seeds, crops):
        image = tf.io.decode_image(tf.io.read_file(path), channels=3).numpy()
        top, left, height, width = image_files._window(tf.shape(image), seed).numpy()
        window = image[top : top + height, left : left + width]
        assert window.shape == (height, width, 3)
        np.testing.assert_allclose(crop, tf.image.resize(window, [16, 16]), atol=2)


def test_windows_have_the_area_and_aspect_that_are_announced():
    shape = tf.constant([300, 400, 3])
    windows = np.array([image_files._window(shape, seed) for seed in _seeds(400)])
    tops, lefts, heights, widths = windows.T
    assert (tops >= 0).all() and (tops + heights <= 300).all() and (lefts + widths <= 400).all()
    areas, aspects = heights * widths / 120_000, widths / heights
    assert 0.07 < areas.min() < 0.15 and 0.85 < areas.max() <= 1
    assert 0.73 < aspects.min() < 0.8 and 1.25 < aspects.max() < 1.36
    assert len({tuple(window) for window in windows}) > 390


def test_area_and_aspect_can_be_chosen(files):
    shape = tf.constant([300, 400, 3])
    drawn = [image_files._window(shape, seed, (0.5, 0.6), (1.0, 1.1)) for seed in _seeds(100)]
    _, _, heights, widths = np.array(drawn).T
    areas, aspects = heights * widths / 120_000, widths / heights
    assert areas.min() > 0.495 and areas.max() < 0.605 and areas.std() > 0.02
    assert aspects.min() > 0.99 and aspects.max() < 1.11 and aspects.std() > 0.02
    # The whole of a file that is square already: nothing is left to chance.
    whole = random_crops(files[3:4], _seeds(1), 64, area=(1.0, 1.0), aspect=(1.0, 1.0)).numpy()
    np.testing.assert_array_equal(whole[0], tf.io.decode_image(tf.io.read_file(files[3]), 3))


@pytest.mark.parametrize("name", ["area", "aspect"])
def test_impossible_ranges_are_refused(name, files):
    with pytest.raises(ValueError, match=rf"^{name}=\(0.5, 0.4\) must be"):
        random_crops(files, _seeds(5), 8, **{name: (0.5, 0.4)})


def test_a_resized_random_crop_is_a_square_of_the_resized_file(files):
    crops = resized_random_crops(files, _seeds(5), 28).numpy()
    assert crops.shape == (5, 28, 28, 3) and crops.dtype == np.float32
    for path, crop in zip(files, crops):
        image = tf.io.decode_image(tf.io.read_file(path), channels=3)
        height, width = image.shape[:2]
        scale = 32 / min(height, width)
        resized = tf.image.resize(image, [round(height * scale), round(width * scale)]).numpy()
        windows = np.lib.stride_tricks.sliding_window_view(resized, (28, 28, 3))[:, :, 0]
        assert np.abs(windows - crop).max(axis=(2, 3, 4)).min() < 1e-3


def test_resized_random_crops_may_be_anywhere(files):
    size = 28  # of the wide file: 32 x 107 pixels, so 5 rows and 80 columns to start at
    paths = np.repeat(files[:1], 300)
    crops = resized_random_crops(paths, _seeds(300), size).numpy()
    rows = np.rint(crops[:, 0, 0, 0] / 255 * 31).astype(int)
    columns = np.rint(crops[:, 0, 0, 1] / 255 * 106).astype(int)
    counts = np.bincount(rows, minlength=5)
    # 4 degrees of freedom: 23.5 is exceeded once in ten thousand.
    assert len(counts) == 5 and ((counts - 60) ** 2 / 60).sum() < 23.5
    counts, _ = np.histogram(columns, np.linspace(0, 80, 6))
    assert columns.max() <= 80 and ((counts - 60) ** 2 / 60).sum() < 23.5


@pytest.mark.parametrize("crops_of", [random_crops, resized_random_crops])
def test_the_seed_alone_decides_whatever_batch_a_file_is_in(files, crops_of):
    whole = crops_of(files, _seeds(5), 16).numpy()
    np.testing.assert_array_equal(crops_of(files, _seeds(5), 16), whole)
    np.testing.assert_array_equal(crops_of(files[3:4], _seeds(5)[3:4], 16)[0], whole[3])
    assert np.abs(crops_of(files, _seeds(5, epoch=1), 16) - whole).max() > 10


def test_an_empty_batch_is_empty():
    none = tf.constant([], tf.string)
    assert centre_crops(none, 8).shape == (0, 8, 8, 3)
    assert resized_random_crops(none, _seeds(0), 8).shape == (0, 8, 8, 3)


@pytest.mark.parametrize("damage", ["absent", "truncated", "text", "empty"])
def test_files_that_cannot_be_read_are_named(damage, files, tmp_path):
    path = tmp_path / "bad [1].JPEG"
    contents = Path(files[0]).read_bytes()
    broken = {"truncated": contents[: len(contents) // 2], "text": b"no image", "empty": b""}
    if damage != "absent":
        path.write_bytes(broken[damage])
    says = f"neither JPEG nor PNG: {re.escape(str(path))}[.]$"
    with pytest.raises(OSError, match=says), unreadable_named():
        random_crops([*files, str(path)], _seeds(6), 16)
    with pytest.raises(OSError, match=says), unreadable_named():
        centre_crops([str(path)], 16)


def test_they_are_named_out_of_a_pipeline_too(files):
    names = np.array([*files, "one", "two"]).astype("S")
    dealt = one_epoch(names, sub_batch_size=4, transform=lambda x, _: centre_crops(x, 8))
    read = []
    with pytest.raises(OSError, match="PNG: one, two[.]$"), unreadable_named():
        for crops in dealt:
            read.append(len(crops))
    assert read == [4]


def test_other_errors_pass():
    with pytest.raises(tf.errors.InvalidArgumentError, match="another"), unreadable_named():
        tf.debugging.assert_equal(1, 2, message="[another]")
