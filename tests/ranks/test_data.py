"""Data sets on two ranks: the same on both are refused, or shared out so that every sample is seen once."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tflbt.data
from tests.ranks.twins import K, X, Y, check, close, large, network, plain
from tflbt.training import LargeBatchModel

Dataset = tf.data.Dataset
QUIET = {"batch_size": None, "sub_batch_size": None, "epochs": 2, "verbose": 0}


class Batches(K.utils.Sequence):
    def __len__(self):
        """Counts the batches."""
        return 8

    def __getitem__(self, i):
        """Gives batch i."""
        return X[4 * i : 4 * i + 4], Y[4 * i : 4 * i + 4]


def batched(size=4):
    return Dataset.from_tensor_slices((X, Y)).batch(size)


def shuffled(size=4):
    return Dataset.from_tensor_slices((X, Y)).shuffle(30, seed=2).batch(size)


SETS = {
    # kind: (what every rank has, the batches of Keras's updates)
    "even": (batched, lambda: batched(8)),
    "uneven": (lambda: batched(6), lambda: batched(12)),
    "shuffled": (shuffled, lambda: shuffled(8)),
    "shared": (lambda: tflbt.data.shard(batched()), lambda: batched(8)),
    "unknown": (lambda: batched().filter(lambda *batch: True), lambda: batched(8)),
    "sequence": (Batches, lambda: batched(8)),
    "generator": (lambda: iter([*batched(), *batched()]), lambda: batched(8)),
}


@pytest.mark.parametrize("kind", SETS)
def test_a_shared_data_set_is_seen_once(kind):
    ours, theirs = SETS[kind]
    arguments = {"steps_per_epoch": 4} if kind == "generator" else {}
    x, reference = ours(), theirs()  # by the same global seed
    validation = None if kind == "generator" else ours()
    sharing = None if kind == "shared" else True
    model, history = large(
        "sgd", data=(x,), shard=sharing, validation_data=validation, **QUIET, **arguments
    )
    against = {**QUIET, "validation_data": None if validation is None else batched()}
    check((model, history), plain("sgd", data=(reference,), **against))
    size = 12 if kind == "uneven" else 8
    assert model.samples_seen == 60 and model.batch_size == size
    assert int(model.optimizer.iterations) == 2 * -(-30 // size)
    if validation is not None:
        found = model.evaluate(ours(), shard=sharing, verbose=0)
        np.testing.assert_allclose(found, model.evaluate(X, Y, verbose=0), rtol=1e-5)


def test_two_sub_batches_of_a_share():
    model, history = large("sgd", data=(batched(),), shard=True, **{**QUIET, "batch_size": 16})
    check((model, history), plain("sgd", data=(batched(16),), **QUIET))


def compiled():
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("kind", ["data set", "sequence", "generator", "augmented"])
def test_the_same_data_on_both_ranks_are_refused(kind, rank):
    make = {
        "data set": batched,
        "sequence": Batches,
        "generator": lambda: iter(Batches()),
        "augmented": lambda: batched(15).map(lambda x, y: (x + float(rank), y)),
    }[kind]
    message = "same (targets of the )?first sub-batch of {}.*shard=True.*shard=False"
    with pytest.raises(ValueError, match=message.format("x")):
        compiled().fit(make(), verbose=0)
    with pytest.raises(ValueError, match=message.format("validation_data")):
        compiled().fit(X, Y, validation_data=make(), verbose=0)
    with pytest.raises(ValueError, match=message.format("x")):
        compiled().evaluate(make(), verbose=0)


def test_ranks_with_the_same_data_on_purpose(rank):
    model = compiled()
    model.fit(batched(5), shard=False, validation_data=batched(5), verbose=0)
    assert model.samples_seen == 60 and model.batch_size == 10
    close(model.evaluate(batched(), shard=False, verbose=0, return_dict=True).values(),
          model.evaluate(X, Y, verbose=0, return_dict=True).values())  # fmt: skip


def test_another_order_on_each_rank_cannot_be_shared_out(rank):
    dataset = Dataset.from_tensor_slices((X, Y)).shuffle(30, seed=rank).batch(15)
    for shared in (dataset, tflbt.data.shard(dataset)):
        with pytest.raises(ValueError, match="another order than rank 0.*seed"):
            compiled().fit(shared, shard=True, verbose=0)


def test_ranks_must_agree_about_sharing(rank):
    with pytest.raises(ValueError, match="disagree about shard: True on rank 0, False on rank 1"):
        compiled().fit(batched(), shard=rank == 0, verbose=0)
