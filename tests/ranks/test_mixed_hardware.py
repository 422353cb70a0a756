"""Ranks whose hardware differs may round differently: they take rank 0's state each epoch; what is more is an error."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tests.ranks.twins import USUAL, K, X, Y, close, identical_on_ranks, network, plain
from tflbt.distributed import hardware
from tflbt.training import LargeBatchModel
from tflbt.training.ranks import mixed_hardware


def sgd():
    return K.optimizers.SGD(0.1, momentum=0.9)


class Drift(K.callbacks.Callback):
    """Changes a rank's weights and rate after an update: a little, as other hardware would, or a lot."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = 1 + share

    def on_train_batch_end(self, batch, logs=None):
        rate = self.model.optimizer.learning_rate
        for variable in (*self.model.trainable_weights, *([rate] if self.share else [])):
            variable.assign(variable * self.share)


def train(share):
    """Trains a network that changes by a share with each update."""
    model = LargeBatchModel.from_model(network())
    model.compile(sgd(), "mse")
    model.fit(X, Y, **USUAL, callbacks=[Drift(share)])
    return model


def test_roundings_are_no_difference(rank, monkeypatch, caplog):
    monkeypatch.setenv(hardware.VARIABLE, "1")
    model, (wanted, _) = train(1e-7 * rank), plain(sgd())
    close(model.get_weights(), wanted.get_weights())
    model.evaluate(X, Y, verbose=0)
    identical_on_ranks(model.get_weights(), "weights")
    assert ("on different hardware (" in caplog.text) == (rank == 0)


@pytest.mark.parametrize(
    ("share", "message"),
    [(1e-3, "the learning rate is 0.1"), (-1.0, "than their hardware's rounding: weight ")],
)
def test_more_is_an_error(share, message, rank, monkeypatch):
    monkeypatch.setenv(hardware.VARIABLE, "1")
    with pytest.raises(ValueError, match=f"The ranks have come to differ.* {message}"):
        train(share * rank)


def test_scalars_are_compared_to_rounding():
    def rows(*ranks):
        return sum(
            mixed_hardware.row([tf.constant(value) for value in values], rank, len(ranks))
            for rank, values in enumerate(ranks)
        )

    nan, inf = float("nan"), float("inf")
    assert mixed_hardware.alike(rows([0.1, nan, inf, 0.0], [0.1 + 1e-8, nan, inf, 0.0]))
    assert not mixed_hardware.alike(rows([0.1, 5.0], [0.1001, 5.0]))
    assert not mixed_hardware.alike(rows([0.0], [1e-9]))
    assert not mixed_hardware.alike(rows([nan], [1.0]))
