"""Samples: shapes, types and sizes checked, sub-batches complete and in order."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.curvature.samples import MeasuredSamples


def test_every_sample_once_in_order():
    x = {"a": np.arange(10), "b": np.arange(20.0).reshape(10, 2)}
    samples = MeasuredSamples.of(x, np.arange(10), np.ones(10), sub_batch_size=4)
    parts = list(samples.sub_batches())
    assert [len(y) for _, y, _ in parts] == [4, 4, 2]
    assert np.concatenate([x["a"] for x, _, _ in parts]).tolist() == list(range(10))
    assert parts[0][0]["b"].dtype == tf.float32
    assert parts[0][1].dtype == tf.int64


def test_specs_leave_the_number_open():
    x, y, weight = MeasuredSamples.of(np.zeros((5, 2)), np.zeros(5, "int32")).specs()
    assert (x, y, weight) == (
        tf.TensorSpec([None, 2], tf.float32),
        tf.TensorSpec([None], tf.int32),
        None,
    )


def test_no_samples_are_allowed():
    assert list(MeasuredSamples.of(np.zeros((0, 2)), np.zeros(0)).sub_batches()) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros((5, 2)), np.zeros(4)), "differ"),
        ((np.zeros((5, 2)), np.zeros(5), np.zeros(3)), "sample_weight"),
        (([np.zeros(5), np.zeros(4)], np.zeros(5)), "arrays of x"),
        ((np.zeros((5, 2)), None), "y=None"),
        ((np.zeros((5, 2)), [1, 2, 3, 4, 5]), "NumPy arrays"),
        ((np.zeros(5), np.zeros(5), None, 0), "sub_batch_size=0"),
        ((np.zeros(5), np.zeros(5), None, 2.5), "sub_batch_size=2.5"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        MeasuredSamples.of(*arguments)
