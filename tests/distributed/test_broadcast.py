"""Variables of all types are the same after they were packed and unpacked, in few buckets of bounded size."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tflbt.distributed import broadcast

TYPES = ("float32", "bool", "float16", "int64", "bfloat16", "uint8", "complex64")


def test_what_is_unpacked_is_what_was_packed():
    values = [tf.cast(tf.range(7 * n), dtype) for n, dtype in enumerate((*TYPES, *TYPES))]
    theirs = [tf.Variable(tf.reshape(value, [7, -1])) for value in values]
    ours = [tf.Variable(tf.zeros_like(variable)) for variable in theirs]
    lists = list(broadcast.in_buckets(ours, most=300))
    assert {v.ref() for bucket in lists for v in bucket} == {v.ref() for v in ours}
    assert sum(len(bucket) for bucket in lists) == len(ours)
    assert all(len(bucket) == 1 or sum(map(broadcast.size, bucket)) <= 300 for bucket in lists)
    assert all(len({v.dtype for v in bucket}) == 1 for bucket in lists)
    assert len(TYPES) < len(lists) < len(ours)
    for theirs_of, ours_of in zip(broadcast.in_buckets(theirs, most=300), lists):
        broadcast.unpack(broadcast.packed(theirs_of), ours_of)
    for mine, other in zip(ours, theirs):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())
    before = theirs[8].numpy()
    theirs[8].assign(tf.zeros_like(before))
    ours[1].assign(tf.zeros_like(ours[1]))
    np.testing.assert_array_equal(
        ours[8].numpy(), before
    )  # memory is shared only until it is written
