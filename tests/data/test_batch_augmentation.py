"""Batch augmentation deals every instance of every sample once, where its placement says, whatever the split."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import BatchAugmentation, Cutout, augmented_batches
from tflbt.data.batch_augmentation import PLACEMENTS
from tflbt.data.sample_seeds import sample_seeds
from tflbt.data.sharding import epoch_order, steps_per_epoch, sub_batches

SAMPLES = 23


def with_seeds(numbers: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    return tf.concat([numbers[:, None], tf.cast(seeds, tf.int64)], axis=1)


def deal(augmentation, sub_batch_size, size=1, **options):
    """What all ranks get: [rank][step] rows of (sample, seed, seed)."""
    return [
        list(
            sub_batches(
                np.arange(SAMPLES), sub_batch_size=sub_batch_size, rank=rank, size=size,
                augmentation=augmentation, transform=with_seeds, **options,
            ).as_numpy_iterator()
        )
        for rank in range(size)
    ]  # fmt: skip


SPLITS = [("sub_batch", 6, 1), ("sub_batch", 3, 2), ("rank", 2, 2), ("rank", 5, 1), ("ranks", 2, 3)]


@pytest.mark.parametrize(("placement", "sub_batch_size", "size"), SPLITS)
def test_an_epoch_is_every_instance_of_every_sample_once(placement, sub_batch_size, size):
    augmentation = BatchAugmentation(3, placement)
    dealt = deal(augmentation, sub_batch_size, size, seed=4)
    steps = steps_per_epoch(SAMPLES, sub_batch_size, size, augmentation)
    assert [len(parts) for parts in dealt] == [steps] * size
    found = np.concatenate([part for parts in dealt for part in parts])
    numbers = np.repeat(np.arange(SAMPLES), 3)
    seeds = sample_seeds(4, tf.constant(0), numbers, np.tile(np.arange(3), SAMPLES)).numpy()
    expected = np.concatenate([numbers[:, None], seeds], axis=1)
    np.testing.assert_array_equal(
        np.sort(found.tolist(), axis=0), np.sort(expected.tolist(), axis=0)
    )
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, expected.tolist()))
    assert len(np.unique(expected[:, 1:], axis=0)) == 3 * SAMPLES  # no two instances draw alike


@pytest.mark.parametrize(("placement", "sub_batch_size", "size"), SPLITS)
def test_an_update_has_all_instances_of_the_same_samples_however_it_is_split(
    placement, sub_batch_size, size
):
    """Updates of 6 sub-batches a rank: of B = 6 * size * sub_batch_size / 3 samples."""
    augmentation = BatchAugmentation(3, placement)
    augmentation.check(6, sub_batch_size, size)
    dealt, order = deal(augmentation, sub_batch_size, size, seed=5), epoch_order(SAMPLES, 5, 0)
    b = 2 * size * sub_batch_size
    for update in range(-(-SAMPLES // b)):
        seen = [part for parts in dealt for part in parts[6 * update : 6 * (update + 1)]]
        numbers = np.sort(np.concatenate(seen)[:, 0])
        np.testing.assert_array_equal(
            numbers, np.sort(np.repeat(order[update * b : (update + 1) * b], 3))
        )


def test_where_the_instances_are():
    together = deal(BatchAugmentation(2, "sub_batch"), 4, 2, shuffle=False)
    assert [part[:, 0].tolist() for part in together[1][:2]] == [[2, 2, 3, 3], [6, 6, 7, 7]]
    on_a_rank = deal(BatchAugmentation(2, "rank"), 2, 2, shuffle=False)
    assert [part[:, 0].tolist() for part in on_a_rank[1][:4]] == [[2, 3], [2, 3], [6, 7], [6, 7]]
    over_ranks = deal(BatchAugmentation(2, "ranks"), 2, 2, shuffle=False)
    for parts in over_ranks:
        assert [part[:, 0].tolist() for part in parts[:2]] == [[0, 1], [2, 3]]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_one_instance_is_no_batch_augmentation(placement):
    plain = list(
        sub_batches(
            np.arange(SAMPLES), sub_batch_size=4, rank=1, size=2, seed=3, epochs=2,
            transform=with_seeds,
        ).as_numpy_iterator()
    )  # fmt: skip
    augmented = deal(BatchAugmentation(1, placement), 4, 2, seed=3, epochs=2)[1]
    assert [part.tolist() for part in augmented] == [part.tolist() for part in plain]


def test_the_first_instance_draws_what_it_would_alone_and_a_resumed_epoch_what_an_uninterrupted():
    augmentation = BatchAugmentation(2)
    whole = deal(augmentation, 46, seed=9, epochs=3)[0]
    alone = deal(BatchAugmentation(), SAMPLES, seed=9, epochs=3)[0]
    np.testing.assert_array_equal(whole[2][::2], alone[2])
    resumed = deal(augmentation, 46, seed=9, epochs=3, initial_epoch=2)[0]
    np.testing.assert_array_equal(resumed[0], whole[2])
    assert not (whole[0][:, 1:] == whole[1][:, 1:]).any()


@pytest.mark.parametrize(
    ("augmentation", "split", "says"),
    [
        (BatchAugmentation(4), (1, 6, 1), "multiple of 4, got 6: use 4, or placement='rank'"),
        (BatchAugmentation(4), (1, 3, 1), "multiple of 4, got 3: use 4"),
        (BatchAugmentation(4, "rank"), (6, 8, 2), "multiple of 64 .* got 96"),
        (BatchAugmentation(4, "ranks"), (3, 8, 2), "multiple of 32 .* got 48"),
    ],
)
def test_a_split_that_tears_a_sample_is_named_with_one_that_does_not(augmentation, split, says):
    with pytest.raises(ValueError, match=says):
        augmentation.check(*split)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0,), "instances=0 must be a whole number"),
        ((2.0,), "instances=2.0 must be"),
        ((2, "host"), "placement='host' must be one of 'sub_batch', 'rank', 'ranks'"),
    ],
)
def test_arguments_that_cannot_be_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        BatchAugmentation(*arguments)


@pytest.mark.parametrize("together", [True, False])
def test_a_pipeline_of_ones_own(together):
    images = np.ones([10, 8, 8, 1], np.float32)
    data = tf.data.Dataset.from_tensor_slices((images, np.arange(10))).batch(4)
    pipeline = data.apply(augmented_batches(3, Cutout(2), seed=1, together=together))
    once, again = (list(pipeline.as_numpy_iterator()) for _ in range(2))
    labels = [part.tolist() for _, part in once]
    if together:
        assert labels == [
            [n for n in range(a, b) for _ in range(3)] for a, b in ((0, 4), (4, 8), (8, 10))
        ]
    else:
        assert labels == [list(range(a, b)) for a, b in ((0, 4), (4, 8), (8, 10)) for _ in range(3)]
    shown = np.concatenate([part for part, _ in once])
    np.testing.assert_array_equal(shown, np.concatenate([part for part, _ in again]))
    assert (shown == 0).any(axis=(1, 2, 3)).all()
    assert len(np.unique(shown.reshape(30, -1), axis=0)) > 15  # of 64 places
    assert pipeline.element_spec[0].shape.as_list() == [None, 8, 8, 1]


def test_a_pipeline_without_a_transform_repeats():
    data = tf.data.Dataset.range(4).batch(2).apply(augmented_batches(2))
    assert [part.tolist() for part in data.as_numpy_iterator()] == [[0, 0, 1, 1], [2, 2, 3, 3]]
