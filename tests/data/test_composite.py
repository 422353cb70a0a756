"""Samples of sparse and ragged tensors are gathered in any order, beside arrays."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tflbt.data.composite import numbered

DENSE = np.arange(24.0).reshape(4, 3, 2) * (np.arange(24).reshape(4, 3, 2) % 3 > 0)


def test_rows_are_gathered_in_any_order():
    ragged = tf.ragged.constant([[1], [2, 3], [], [4]])
    arrays, restored = numbered(({"a": tf.sparse.from_dense(DENSE), "b": ragged}, np.arange(4)))
    chosen = tf.constant([3, 0, 0, 2])
    batch = restored(*tf.nest.map_structure(lambda part: tf.gather(part, chosen), arrays))
    np.testing.assert_array_equal(tf.sparse.to_dense(batch[0]["a"]), DENSE[[3, 0, 0, 2]])
    assert batch[0]["b"].to_list() == [[4], [1], [1], []] and batch[1].numpy().tolist() == [
        3,
        0,
        0,
        2,
    ]
    nothing = tf.zeros([0], tf.int32)
    empty = restored(*tf.nest.map_structure(lambda part: tf.gather(part, nothing), arrays))
    assert tf.sparse.to_dense(empty[0]["a"]).shape == (0, 3, 2) and empty[0]["b"].nrows() == 0


def test_arrays_alone_stay_as_they_are():
    arrays = (np.arange(3), {"a": np.ones([3, 2])})
    assert numbered(arrays) == (arrays, None)
