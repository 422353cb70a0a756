"""Pad, crop and flip: equal to plain NumPy, spread as announced, the same wherever a sample is."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data.sample_seeds import sample_seeds
from tflbt.data.sharding import sub_batches
from tflbt.data.transforms.pad_crop_flip import PadCropFlip, chain, crop_and_flip
from tflbt.data.transforms.standardize import fit_standardize


def _seeds(samples, epoch=0):
    return sample_seeds(0, tf.constant(epoch), tf.range(samples))


def _by_hand(images, rows, columns, flips, padding):
    """One image after another, with NumPy's own slices."""
    around = (padding, padding)
    out = np.empty_like(images)
    height, width = images.shape[1:3]
    for number, image in enumerate(images):
        padded = np.pad(image, (around, around, (0, 0)))
        row, column = rows[number], columns[number]
        crop = padded[row : row + height, column : column + width]
        out[number] = crop[:, ::-1] if flips[number] else crop
    return out


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("padding", "shape"), [(4, (32, 32, 3)), (1, (5, 7, 1)), (0, (4, 4, 2)), (6, (4, 3, 3))]
)
def test_equals_plain_numpy(padding, shape, dtype):
    images = np.random.default_rng(0).integers(1, 255, (40, *shape)).astype(dtype)
    augment, seeds = PadCropFlip(padding), _seeds(40)
    draws = [draw.numpy() for draw in augment.draws(seeds)]
    augmented = augment(images, seeds)
    assert augmented.dtype == dtype
    np.testing.assert_array_equal(augmented.numpy(), _by_hand(images, *draws, padding))


def test_shifts_are_uniform_and_half_are_mirrored():
    rows, columns, flips = (draw.numpy() for draw in PadCropFlip(4).draws(_seeds(40_500)))
    for draw in (rows, columns):
        counts = np.bincount(draw, minlength=9)
        assert len(counts) == 9
        assert np.abs(counts - 4500).max() < 5 * np.sqrt(4500 * 8 / 9)
    assert abs(flips.mean() - 0.5) < 5 * 0.5 / np.sqrt(40_500)
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 5 / np.sqrt(40_500)


def test_flips_can_be_off():
    assert not PadCropFlip(4, flip=False).draws(_seeds(100))[2].numpy().any()


def test_epochs_differ():
    augment = PadCropFlip(4)
    first, second = (augment.draws(_seeds(100, epoch))[0].numpy() for epoch in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize(("sub_batch_size", "size"), [(7, 1), (4, 2)])
def test_a_sample_is_augmented_alike_in_any_split_and_labels_stay(sub_batch_size, size):
    images = np.random.default_rng(1).integers(1, 255, (30, 6, 6, 1)).astype(np.uint8)
    options = {"transform": PadCropFlip(2), "seed": 8}

    def augmented(sub_batch_size, size):
        found = {}
        for rank in range(size):
            dealt = sub_batches(
                (images, np.arange(30)),
                sub_batch_size=sub_batch_size,
                rank=rank,
                size=size,
                **options,
            )
            for parts, labels in dealt.as_numpy_iterator():
                found.update(zip(labels.tolist(), parts))
        return np.stack([found[number] for number in range(30)])

    whole = augmented(30, 1)
    np.testing.assert_array_equal(augmented(sub_batch_size, size), whole)
    assert (whole != images).any()


def test_padding_after_standardisation_is_the_mean_pixel():
    images = np.random.default_rng(2).integers(0, 255, (50, 8, 8, 3)).astype(np.uint8)
    standardize = fit_standardize(images, "per_channel")
    transform = chain(
        standardize, lambda x, seeds: crop_and_flip(x, [0] * 50, [0] * 50, [False] * 50, 2)
    )
    padded = transform(images, _seeds(50)).numpy()[:, :2]
    np.testing.assert_array_equal(
        padded * standardize.scale + standardize.mean, padded * 0 + standardize.mean
    )


def test_no_samples_keep_their_shape():
    empty = PadCropFlip(4)(tf.zeros([0, 32, 32, 3]), _seeds(0))
    assert empty.shape == (0, 32, 32, 3)


def test_the_batch_dimension_may_be_unknown_and_nothing_retraces():
    traces = []

    @tf.function(
        input_signature=[tf.TensorSpec([None, 8, 8, 1]), tf.TensorSpec([None, 2], tf.int32)]
    )
    def augmented(images, seeds):
        traces.append(None)
        return PadCropFlip(1)(images, seeds)

    for samples in (3, 5, 0):
        assert augmented(tf.ones([samples, 8, 8, 1]), _seeds(samples)).shape == (samples, 8, 8, 1)
    assert len(traces) == 1


def test_each_part_of_a_chain_draws_for_itself():
    drawn = []
    record = [lambda x, seeds: drawn.append(seeds.numpy()) or x] * 2
    chain(*record)(tf.zeros([4]), _seeds(4))
    assert (drawn[0] != drawn[1]).any()


def test_negative_padding_is_refused():
    with pytest.raises(
        ValueError, match="^padding=-1 must be a whole number, between 0 and 100000"
    ):
        PadCropFlip(-1)
