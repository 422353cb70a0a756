"""Samples that are read one by one: the same as in batches, whatever is dealt, and what cannot be read is named."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import BatchAugmentation, chain
from tflbt.data.reading import Reader
from tflbt.data.sharding import one_epoch, sub_batches

NAMES = np.array([b"%d" % number for number in range(11)])


def _read(path, seed):
    """The path's number and the seed; paths that are no numbers cannot be read."""
    number = tf.strings.to_number(path, tf.int32)
    return tf.concat([number[None], seed], axis=0)


READER = Reader(lambda names, seeds: (names, seeds), _read, tf.TensorSpec([3], tf.int32), "bad: ")


def _in_batches(names, seeds):
    return READER(names, seeds)


def _drawn(numbers, seeds):
    """A user's transform, with Python's `if` on a tensor."""
    if tf.reduce_sum(numbers[:, 0]) >= 0:
        return numbers * 2 + seeds[:, :1] % 7
    return numbers


@pytest.mark.parametrize("then", [(), (_drawn,)])
@pytest.mark.parametrize(
    "options",
    [
        {"sub_batch_size": 4},
        {"sub_batch_size": 1, "rank": 1, "size": 2},
        {"sub_batch_size": 3, "rank": 2, "size": 3},  # an epoch's last sub-batch is empty
        {"sub_batch_size": 4, "augmentation": BatchAugmentation(2)},
        {"sub_batch_size": 4, "rank": 1, "size": 2, "augmentation": BatchAugmentation(2, "rank")},
        {"sub_batch_size": 4, "joined": True},
        {"sub_batch_size": 4, "course": [1, 2, -2, 1]},
        {"sub_batch_size": 3, "shuffle": False, "initial_epoch": 1},
        {"sub_batch_size": 3, "initial_epoch": 2},
    ],
)
def test_a_stream_of_samples_is_the_same_as_batches(options, then):
    if "course" in options:
        options = {**options, "course": tf.Variable(options["course"], dtype=tf.int64)}
    arrays = (NAMES, {"y": np.arange(11)})
    streamed, expected = (
        sub_batches(
            arrays, epochs=2, seed=3, transform=chain(first, *then) if then else first, **options
        )
        for first in (READER, _in_batches)
    )
    assert streamed.element_spec == expected.element_spec
    assert streamed.cardinality() == expected.cardinality()
    parts = list(zip(streamed, expected, strict=True))
    assert len(parts) == expected.cardinality()
    for (x, rest), (expected_x, expected_rest) in parts:
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(rest["y"], expected_rest["y"])


@pytest.mark.parametrize(
    ("size", "wrong", "read", "named"),
    [
        (4, {1: b"a", 2: b"b", 5: b"c"}, 0, "a, b"),
        (4, {4: b"a", 7: b"b"}, 1, "a, b"),
        (4, {10: b"a"}, 2, "a"),  # the last of all, in a smaller sub-batch
        (4, {8: b"a", 9: b"b", 10: b"c"}, 2, "a, b, c"),
        (1, {10: b"a"}, 10, "a"),
        (100, dict.fromkeys(range(11), b"a"), 0, ", ".join(11 * "a")),
    ],
)
def test_what_cannot_be_read_is_named_after_what_comes_before(size, wrong, read, named):
    names = np.array([wrong.get(number, name) for number, name in enumerate(NAMES)])
    parts = iter(one_epoch(names, sub_batch_size=size, transform=READER))
    for _ in range(read):
        next(parts)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"bad: {named}\."):
        next(parts)


def test_reading_may_be_broken_off():
    for _ in range(3):
        next(iter(sub_batches(NAMES, sub_batch_size=2, epochs=50, transform=READER)))
