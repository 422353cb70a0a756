"""Equal bits, and only those, have equal fingerprints; sums over ranks tell whether all are equal."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.distributed import fingerprint

TENTH = np.float32(0.1)


@pytest.mark.parametrize(
    ("ranks", "equal"),
    [
        ([TENTH] * 3, True),
        ([TENTH, TENTH, np.nextafter(TENTH, np.float32(1))], False),
        ([1, 2, 3], False),  # rank 1 holds their mean
        ([True, False], False),
        ([np.int64(2**40), np.int64(2**40 + 1)], False),
        ([np.nan, -np.nan], True),
        ([np.zeros(0, "f4")] * 2, True),
        ([[1.0, 2.0], [2.0, 1.0]], False),
        ([np.ones([2, 3])] * 1000, True),
        ([np.ones([2, 3])] * 999 + [np.zeros([2, 3])], False),
    ],
)
def test_sums_tell_whether_all_ranks_are_equal(ranks, equal):
    prints = tf.stack([fingerprint.fingerprint(value) for value in ranks])
    summed = np.sum(np.moveaxis(fingerprint.evidence(prints), 1, 0), axis=0, dtype=np.float32)
    assert bool(fingerprint.equal(summed, len(ranks))) == equal


@pytest.mark.parametrize(
    "first, second, equal",
    [
        ([1.0, np.nan], [1.0, -np.nan], True),
        (np.full([99, 99], np.nan), np.full([99, 99], -np.nan), True),
        (np.zeros([0, 2]), np.zeros([0, 2]), True),
        (np.ones([2, 2], "f2"), np.zeros([2, 2], "f2"), False),
        (np.ones([99, 99]), np.eye(99), False),
        (3, 4, False),
        (True, False, False),
        (tf.constant(1.0, tf.bfloat16), tf.constant(2.0, tf.bfloat16), False),
        (tf.constant([1.0, np.nan], tf.bfloat16), tf.constant([1.0, np.nan], tf.bfloat16), True),
        (["words", "more"], ["words", "more"], True),
        (["words", "more"], ["words", "fewer"], False),
        ("a word", "another", False),
        (np.ones([99, 99], "i2"), np.ones([99, 99], "i2"), True),
        (1 + 1j, 1 - 1j, False),
    ],
)
def test_variables_have_the_same_fingerprint_where_they_have_the_same_values(first, second, equal):
    one, other = fingerprint.of_variables([tf.Variable(first), tf.Variable(second)])
    assert one.shape == (8,)
    assert (one == other).all() == equal


def test_a_variable_that_changes_has_another_fingerprint():
    first, second = variables = [tf.Variable([1.0, 2.0]), tf.Variable(3)]
    prints = fingerprint.of_variables(variables)
    first.assign([1.0, 2.5])
    same = (fingerprint.of_variables(variables) == prints).all(1)
    assert same.tolist() == [False, True]
    found = fingerprint.fingerprint_of_all([first, second]).numpy()
    assert (found != fingerprint.fingerprint_of_all([second, first]).numpy()).any()


@pytest.mark.parametrize("place", range(4))
def test_a_fingerprint_of_all_sees_each(place):
    values = [tf.constant([1, 2]), 0.1, 2**40, 0.2]
    before = fingerprint.fingerprint_of_all(values).numpy()
    values[place] = values[place] + 1
    assert (fingerprint.fingerprint_of_all(values).numpy() != before).any()
