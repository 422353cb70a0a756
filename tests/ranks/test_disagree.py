"""Ranks that would train different things are refused on every rank, with what they disagree about."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.ranks.twins import USUAL, K, X, Y, large, network
from tflbt.distributed import comm
from tflbt.training import LargeBatchModel


def sgd():
    return K.optimizers.SGD(0.1)


def layers():
    return [K.Input([5]), K.layers.Dense(8), K.layers.Dense(2), K.layers.Dense(2)]


def batches(size):
    return tf.data.Dataset.from_tensor_slices((X[:size], Y[:size])).batch(2)


def frozen(rank):
    model = network()
    model.layers[1].trainable = not rank
    return model


def synchronized():
    return K.layers.BatchNormalization(synchronized=True, name="norm")


def network_of_all():
    model = LargeBatchModel.from_model(network())
    model.compile(sgd(), "mse")
    return model


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
    "disagree about the optimizer's momentum: '0.0' on rank 0, '0.1' on rank 1": lambda rank: large(
        K.optimizers.SGD(0.1, momentum=0.1 * rank)
    ),
    "disagree about the loss": lambda rank: large(sgd(), loss=["mse", "mae"][rank]),
    "disagree about the metrics": lambda rank: large(sgd(), metrics=["mae", "mse"][: 1 + rank]),
    "disagree about which weights are trainable": lambda rank: large(sgd(), frozen(rank)),
    "layer 'norm' (BatchNormalization) has synchronized=True": lambda rank: large(
        sgd(), K.Sequential([K.Input([5]), synchronized(), K.layers.Dense(2)])
    ),
    "batch_size=15 is not a multiple of 2 ranks": lambda rank: large(sgd(), batch_size=15),
}


@pytest.mark.parametrize("message", DISAGREEMENTS)
def test_ranks_that_disagree_are_refused(message, rank):
    with pytest.raises(ValueError) as error:
        DISAGREEMENTS[message](rank)
    assert message in str(error.value)
    comm.gather_objects(None, "all are refused")


class At(K.callbacks.LambdaCallback):
    """Does something at one moment of a training: the end of the second update, or of the first epoch."""

    def __init__(self, moment, action):
        super().__init__()
        self.moment, self.action, self.seen = moment, action, 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.moment == "update" and self.seen == 1:
            self.action(self.model)

    def on_epoch_end(self, epoch, logs=None):
        if self.moment == "epoch" and epoch == 0:
            self.action(self.model)


def slightly_faster(model):
    model.optimizer.learning_rate = np.nextafter(np.float32(0.1), np.float32(1))


def other_weights(model):
    model.layers[1].bias.assign_add(np.full(8, 1e-6))


def other_slots(model):
    model.optimizer.variables[-1].assign_add(np.full(2, 1e-6))


def stop(model):
    model.stop_training = True


def smaller_batch(model):
    model.batch_size = 8


# What a callback on one rank alone does, when, and what every rank then says.
DRIFTS = [
    (slightly_faster, "epoch", "the learning rate is 0.1"),
    (slightly_faster, "update", "on rank 0, 0.10000000149011612 on rank 1"),
    (other_weights, "epoch", "/bias:0 (number 1) differs (its norm: "),
    (other_slots, "epoch", "the optimizer's m/dense"),
    (smaller_batch, "epoch", "the number of sub-batches in an update is 2 on rank 0, 4 on rank 1"),
    (stop, "epoch", "stopped (model.stop_training) on rank 0 only"),
    (stop, "update", "stopped (model.stop_training) on rank 0 only"),
]


@pytest.mark.parametrize(("action", "moment", "message"), DRIFTS)
def test_a_callback_on_one_rank_alone_ends_the_job_on_all(action, moment, message, rank):
    callbacks = [] if rank else [At(moment, action)]
    with pytest.raises(ValueError) as error:
        large(K.optimizers.SGD(0.1, momentum=0.9), callbacks=callbacks)
    assert message in str(error.value) and "ive every rank the same callbacks" in str(error.value)
    comm.gather_objects(None, "all have ended")


@pytest.mark.parametrize("moment", ["epoch", "update"])
def test_all_may_stop(moment):
    model, history = large(sgd(), callbacks=[At(moment, stop)])
    assert int(model.optimizer.iterations) == {"epoch": 2, "update": 1}[moment]
    assert len(history["loss"]) == 1
    model.fit(X, Y, **USUAL)
    assert int(model.optimizer.iterations) == {"epoch": 8, "update": 7}[moment]


def test_not_a_number_is_no_difference():
    model, history = large(K.optimizers.SGD(1e30))
    assert np.isnan(history["loss"][-1]) and np.isnan(model.get_weights()[0]).any()


def test_weights_set_on_one_rank_between_fits_are_seen_by_evaluate(rank):
    model, _ = large(sgd())
    if rank:
        model.set_weights([weight + 1e-6 for weight in model.get_weights()])
    for call in (model.evaluate, model.test_on_batch):
        with pytest.raises(ValueError, match="weight dense.*differs"):
            call(X, Y)
    model.fit(X, Y, **USUAL)  # shares the chief's
    model.evaluate(X, Y, verbose=0)


def test_weights_set_on_one_rank_between_single_batches_are_seen(rank):
    model = network_of_all()
    for _ in range(2):
        model.train_on_batch(X[rank::2], Y[rank::2])
    if rank:
        model.set_weights([weight + 1e-6 for weight in model.get_weights()])
    with pytest.raises(ValueError, match="weight dense.*differs"):
        for _ in range(16):
            model.train_on_batch(X[rank::2], Y[rank::2])
