"""A first batch is looked at without loss; equal ones give away data that every rank has whole."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data.first_batch import compare, describe, look

Dataset = tf.data.Dataset


def passes(dataset, number=3):
    """What Keras reads in some epochs of a data set that ends."""
    iter(dataset)
    return [[part.numpy().tolist() for part in iter(dataset)] for _ in range(number)]


def looked(dataset, **arguments):
    return look(dataset, **{"share": lambda whole: whole, "steps": None, **arguments})


def test_no_order_and_no_batch_is_lost():
    def make():
        return Dataset.range(7).shuffle(7, seed=1).batch(3)

    found, first = looked(make())
    wanted = passes(make())
    assert first.numpy().tolist() == wanted[0][0]
    assert int(found.cardinality()) == 3 and found.element_spec == make().element_spec
    assert passes(found) == wanted


def test_what_can_be_read_only_once_is_not_lost():
    numbers = iter(range(6))
    dataset = Dataset.from_generator(lambda: numbers, output_signature=tf.TensorSpec([], tf.int64))
    found, first = looked(dataset.batch(2))
    assert first.numpy().tolist() == [0, 1]
    assert passes(found, 1) == [[[0, 1], [2, 3], [4, 5]]]


def test_an_infinite_data_set_goes_on():
    found, _ = looked(Dataset.range(3).repeat().batch(2), steps=2)
    assert [part.numpy().tolist() for part in found.take(3)] == [[0, 1], [2, 0], [1, 2]]


@pytest.mark.parametrize("kind", ["ragged", "sparse", "nested"])
def test_any_structure_is_the_same_in_every_pass(kind):
    parts = {
        "ragged": tf.ragged.constant([[1], [2, 3], [4]]),
        "sparse": tf.sparse.from_dense(np.eye(3)),
        "nested": ({"a": np.arange(3)}, np.ones([3, 2])),
    }
    dataset = Dataset.from_tensor_slices(parts[kind]).batch(2)
    found, _ = looked(dataset)
    assert iter(found).element_spec == dataset.element_spec
    iter(found)
    for _ in range(2):
        for mine, other in zip(found, dataset):
            flat = (tf.nest.flatten(part, expand_composites=True) for part in (mine, other))
            assert all(np.array_equal(a, b) for a, b in zip(*flat))


def test_an_empty_data_set():
    assert looked(Dataset.range(0).batch(2))[1] is None


RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=[2, 32, 3]), RNG.integers(0, 10, [2, 32])


@pytest.mark.parametrize(
    ("batches", "dealt", "message"),
    [
        ([(X[0], LABELS[0])] * 2, False, "same first sub-batch of x"),
        ([(X[0],)] * 2, False, "same first sub-batch of x.*shard=True.*shard=False"),
        ([(X[0], LABELS[0]), (X[1], LABELS[0])], False, "same targets of the first sub-batch"),
        ([(X[0], LABELS[0]), (X[1], LABELS[1])], False, None),
        ([(X[0], 0 * LABELS[0]), (X[1], 0 * LABELS[1])], False, None),
        ([(X[0][:4], LABELS[0][:4] > 4), (X[1][:4], LABELS[0][:4] > 4)], False, None),
        ([(X[0], LABELS[0])] * 2, True, None),
        ([(X[0], LABELS[0]), (X[1], LABELS[0])], True, None),
        ([(X[0], LABELS[0]), (X[1], LABELS[1])], True, "another order than rank 0"),
        ([(X[0],), (X[1],)], True, "seed"),
    ],
)
def test_ranks_are_compared(batches, dealt, message):
    found = [describe("x", batch, dealt) for batch in batches]
    if message is None:
        compare(found)
        compare([None, *found])
        return
    for ranks in (found, [None, *found]):
        with pytest.raises(ValueError, match=message.replace("rank 0", "rank")):
            compare(ranks)


def test_words_are_compared_by_what_they_say():
    def of(text):
        return describe("x", (np.array([text, "b"], object),), False).whole

    assert of("a") == of("".join(["a"])) != of("c")
