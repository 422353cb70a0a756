"""Class weights become sample weights; the training by them is in test_forms.py."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data.class_weights import weighted


@pytest.mark.parametrize(
    ("y", "own", "wanted"),
    [
        ([0, 1, 2], None, [1, 3, 5]),
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [1, 6, 15]),
        ([[0], [1]], [2.0, 2.0], [2, 6]),
        ([[0, 0, 1], [1, 0, 0]], [2.0, 2.0], [10, 2]),
        ([0, 1], [[2.0], [2.0]], [[2], [6]]),
        ([[[0], [1]], [[2], [0]]], [1.0, 2.0], [[1, 3], [10, 2]]),
    ],
)
def test_weights_multiply(y, own, wanted):
    parts = (np.ones([len(y), 1]), np.array(y), *([] if own is None else [np.array(own)]))
    batches = tf.data.Dataset.from_tensor_slices(parts).batch(4)
    (_, _, found), *_ = weighted(batches, {0: 1.0, 1: 3.0, 2: 5.0})
    assert found.numpy().tolist() == wanted
