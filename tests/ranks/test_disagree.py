"""Ranks that would train different things are refused on every rank, with what they disagree about."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tests.ranks.twins import K, X, Y, large, network
from tflbt.distributed import comm


def sgd():
    return K.optimizers.SGD(0.1)


def layers():
    return [K.Input([5]), K.layers.Dense(8), K.layers.Dense(2), K.layers.Dense(2)]


def batches(size):
    return tf.data.Dataset.from_tensor_slices((X[:size], Y[:size])).batch(2)


HALVES = (slice(0, 15), slice(15, 30))
# What each rank does, and what every rank then says.
DISAGREEMENTS = {
    "The ranks hold different models: weight 0": lambda rank: large(sgd(), network(units=8 + rank)),
    "weight 4": lambda rank: large(sgd(), K.Sequential(layers()[: 3 + rank])),
    "disagree about batch_size: 16 on rank 0, 32 on rank 1": lambda rank: large(
        sgd(), batch_size=16 * (1 + rank)
    ),
    "disagree about sub_batch_size": lambda rank: large(sgd(), sub_batch_size=2 * (1 + rank)),
    "disagree about epochs": lambda rank: large(sgd(), epochs=2 + rank),
    "disagree about seed": lambda rank: large(sgd(), seed=rank),
    "disagree about the optimizer": lambda rank: large([sgd(), K.optimizers.Adam()][rank]),
    "give every rank the whole arrays": lambda rank: large(
        sgd(), data=(X[HALVES[rank]], Y[HALVES[rank]])
    ),
    "disagree about the number of samples in x": lambda rank: large(
        sgd(), data=(X[: 30 - rank], Y[: 30 - rank])
    ),
    "disagree about the number of sub-batches in x": lambda rank: large(
        sgd(), data=(batches(30 - 8 * rank),), shard=False
    ),
    "disagree about steps_per_epoch": lambda rank: large(
        sgd(), data=(batches(30 - 8 * rank).repeat(),), steps_per_epoch=4 + rank, shard=False
    ),
    "disagree about the number of validation sub-batches": lambda rank: large(
        sgd(), validation_data=batches(30 - 8 * rank), shard=False
    ),
    "batch_size=15 is not a multiple of 2 ranks": lambda rank: large(sgd(), batch_size=15),
}


@pytest.mark.parametrize("message", DISAGREEMENTS)
def test_ranks_that_disagree_are_refused(message, rank):
    with pytest.raises(ValueError) as error:
        DISAGREEMENTS[message](rank)
    assert message in str(error.value)
    comm.gather_objects(None, "all are refused")
