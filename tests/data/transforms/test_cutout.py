"""Cutout: equal to a loop and to TensorFlow Addons, centres spread as announced, the same wherever a sample is."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import Cutout, PadCropFlip, chain
from tflbt.data.sample_seeds import fold_in, sample_seeds
from tflbt.data.sharding import sub_batches
from tflbt.data.transforms.cutout import cut_out


def _seeds(samples, epoch=0):
    return sample_seeds(0, tf.constant(epoch), tf.range(samples))


def _images(samples, shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(1, 255, (samples, *shape)).astype(dtype)


def _by_hand(images, rows, columns, size):
    """One square after another, clipped as in the authors' code; at odd sizes one row and column more."""
    out = np.array(images)
    height, width = images.shape[1:3]
    for image, image_rows, image_columns in zip(out, rows, columns):
        for row, column in zip(image_rows, image_columns):
            top, left = (int(centre) - size // 2 for centre in (row, column))
            ends = np.clip(top + size, 0, height), np.clip(left + size, 0, width)
            image[max(top, 0) : ends[0], max(left, 0) : ends[1]] = 0
    return out


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float32])
@pytest.mark.parametrize(
    ("size", "count", "shape"),
    [
        (16, 1, (32, 32, 3)),
        (4, 3, (9, 6, 1)),
        (5, 2, (7, 11, 2)),
        (1, 1, (3, 3, 1)),
        (50, 1, (8, 8, 3)),
    ],
)
def test_equals_a_loop(size, count, shape, dtype):
    images, cutout, seeds = _images(40, shape, dtype), Cutout(size, count), _seeds(40)
    rows, columns = (draw.numpy() for draw in cutout.draws(seeds, *shape[:2]))
    assert rows.shape == columns.shape == (40, count)
    cut = cutout(images, seeds)
    assert cut.dtype == dtype and cut.shape == images.shape
    np.testing.assert_array_equal(cut.numpy(), _by_hand(images, rows, columns, size))


def test_bfloat16_is_preserved():
    images = tf.cast(_images(9, (8, 8, 3)), tf.bfloat16)
    cut = Cutout(4)(images, _seeds(9))
    assert cut.dtype == tf.bfloat16
    whole = Cutout(4)(tf.cast(images, tf.float32), _seeds(9))
    np.testing.assert_array_equal(tf.cast(cut, tf.float32), whole)


def test_what_is_hidden_is_zero_even_where_pixels_are_not_finite():
    cut = cut_out(tf.fill([1, 4, 4, 1], np.float32(np.inf)), [[2]], [[2]], 2).numpy()[0, ..., 0]
    assert (cut[1:3, 1:3] == 0).all() and np.isinf(cut).sum() == 12


def test_equals_tensorflow_addons_for_the_same_centres():
    cutout_of_addons = pytest.importorskip("tensorflow_addons").image.cutout
    images, cutout, seeds = _images(30, (12, 10, 3), np.float32), Cutout(6), _seeds(30)
    rows, columns = cutout.draws(seeds, 12, 10)
    theirs = cutout_of_addons(images, 6, offset=tf.concat([rows, columns], axis=1))
    np.testing.assert_array_equal(cutout(images, seeds), theirs)


def test_centres_are_uniform_over_all_pixels_and_independent():
    rows, columns = (draw.numpy() for draw in Cutout(8, count=2).draws(_seeds(30_000), 5, 6))
    for square in range(2):
        counts = np.bincount(rows[:, square] * 6 + columns[:, square], minlength=30)
        # 29 degrees of freedom: 66 is exceeded once in ten thousand.
        assert len(counts) == 30 and ((counts - 1000) ** 2 / 1000).sum() < 66
    assert abs(np.corrcoef(rows[:, 0], rows[:, 1])[0, 1]) < 5 / np.sqrt(30_000)


def test_less_is_hidden_at_the_border():
    hidden = (Cutout(16)(tf.ones([4096, 32, 32, 1]), _seeds(4096)).numpy() == 0).mean()
    # A side hides 8 .. 16 pixels: 32 centres, of which 8 lose 8 .. 1 pixels above and 7 lose 1 .. 7 below.
    side = 16 - (sum(range(1, 9)) + sum(range(1, 8))) / 32
    assert abs(hidden - (side / 32) ** 2) < 0.003


def test_the_seed_alone_decides_whatever_batch_a_sample_is_in():
    images, cutout = _images(20, (16, 16, 3)), Cutout(6, count=2)
    whole = cutout(images, _seeds(20)).numpy()
    np.testing.assert_array_equal(cutout(images[7:9], _seeds(20)[7:9]), whole[7:9])
    assert (cutout(images, _seeds(20, epoch=1)).numpy() != whole).any()
    assert (cutout(images, fold_in(_seeds(20), 1)).numpy() != whole).any()
    same = cutout(np.repeat(images[:1], 20, axis=0), _seeds(20)).numpy()
    assert len({image.tobytes() for image in same}) > 15


@pytest.mark.parametrize(("sub_batch_size", "size"), [(7, 1), (4, 2)])
def test_labels_stay_in_any_split(sub_batch_size, size):
    images = _images(30, (6, 6, 1))
    transform = chain(PadCropFlip(1), Cutout(3))

    def augmented(sub_batch_size, size):
        found = {}
        for rank in range(size):
            dealt = sub_batches(
                (images, np.arange(30)),
                sub_batch_size=sub_batch_size,
                rank=rank,
                size=size,
                seed=8,
                transform=transform,
            )
            for parts, labels in dealt.as_numpy_iterator():
                found.update(zip(labels.tolist(), parts))
        return np.stack([found[number] for number in range(30)])

    np.testing.assert_array_equal(augmented(sub_batch_size, size), augmented(30, 1))


def test_no_samples_keep_their_shape_and_the_batch_may_be_unknown():
    @tf.function(
        input_signature=[tf.TensorSpec([None, 8, 6, 3]), tf.TensorSpec([None, 2], tf.int32)]
    )
    def cut(images, seeds):
        out = Cutout(4, count=2)(images, seeds)
        assert out.shape.as_list() == [None, 8, 6, 3]
        return out

    assert cut(tf.zeros([0, 8, 6, 3]), _seeds(0)).shape == (0, 8, 6, 3)
    assert cut(tf.ones([3, 8, 6, 3]), _seeds(3)).shape == (3, 8, 6, 3)


@pytest.mark.parametrize("name", ["size", "count"])
def test_sizes_and_counts_below_one_are_refused(name):
    with pytest.raises(
        ValueError, match=f"^{name}=0 must be a whole number, (at least 1|between 1 and 100000)"
    ):
        Cutout(**{name: 0})
