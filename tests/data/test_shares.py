"""Shares of a data set are disjoint, together whole, and as long as Keras's loop needs; see also ranks/test_data.py."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import shard

Dataset = tf.data.Dataset


class Numbers(tf.keras.utils.Sequence):
    def __init__(self, batches):
        self.batches, self.epochs = batches, 0

    def __len__(self):
        """Counts the batches."""
        return self.batches

    def __getitem__(self, i):
        """Gives batch i."""
        return np.array([i, i]), None

    def on_epoch_end(self):
        """Counts the epochs."""
        self.epochs += 1


SETS = {
    "even": lambda: Dataset.range(12).batch(2),
    "uneven": lambda: Dataset.range(13).batch(2),
    "fewer than ranks": lambda: Dataset.range(3).batch(2),
    "unknown": lambda: Dataset.range(13).filter(lambda number: number >= 0).batch(2),
    "shuffled": lambda: Dataset.range(13).shuffle(13, seed=3).batch(2).prefetch(2),
    "interleaved": lambda: (
        Dataset.range(4)
        .interleave(lambda n: Dataset.from_tensors(n).repeat(3), num_parallel_calls=2)
        .enumerate()
        .map(lambda i, n: i)
        .batch(2)
    ),
}


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("size", [2, 3])
def test_every_sample_is_in_one_share(kind, size):
    shares = [shard(SETS[kind](), rank=rank, size=size) for rank in range(size)]
    for _ in range(2):  # passes
        found = [[part.tolist() for part in share.as_numpy_iterator()] for share in shares]
        samples = sorted(itertools.chain(*itertools.chain(*found)))
        assert samples == list(range(len(samples))) and len(samples) >= 3
    assert len({int(share.cardinality()) for share in shares}) == 1
    whole = [part.tolist() for part in SETS[kind]().as_numpy_iterator()]
    if kind != "shuffled":  # it has drawn another order since
        assert found == [whole[rank::size] for rank in range(size)]


def test_a_share_of_what_has_no_order_is_in_order():
    options = tf.data.Options()
    options.deterministic = False
    share = shard(Dataset.range(4).batch(2).with_options(options), rank=0, size=2)
    assert share.options().deterministic


def test_an_infinite_share_goes_on_where_the_pass_ended():
    share = shard(Dataset.range(3).batch(1).repeat(), rank=1, size=2)
    assert [int(part[0]) for part in share.take(4)] == [1, 0, 2, 1]


def test_sequences_have_equal_lengths():
    whole = Numbers(5)
    shares = [shard(whole, rank=rank, size=2) for rank in range(2)]
    assert [len(share) for share in shares] == [3, 3]
    found = [[share[i][0].tolist() for i in range(3)] for share in shares]
    assert found == [[[0, 0], [2, 2], [4, 4]], [[1, 1], [3, 3], []]]
    shares[0].on_epoch_end()
    assert whole.epochs == 1


def test_generators_are_dealt_out():
    assert list(shard(iter(range(5)), rank=1, size=2)) == [1, 3]


def test_alone_it_is_the_data_set_itself():
    dataset = Dataset.range(3)
    assert shard(dataset) is dataset


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 2, "size": 2}, "rank=2"),
        ({"size": 0}, "size=0"),
        ({"size": 2, "rank": -1}, "rank=-1"),
    ],
)
def test_numbers_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        shard(Dataset.range(3), **arguments)


def test_other_things_are_refused():
    with pytest.raises(ValueError, match="dataset is a ndarray"):
        shard(np.ones(3), rank=0, size=2)
