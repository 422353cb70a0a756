"""Graphs that were traced by one rank alone, and serve two later: trained 1 -> 2 -> 1 equals one rank."""

from __future__ import annotations

import horovod.tensorflow.keras as hvd
import numpy as np
import pytest
import tensorflow as tf

from tests.ranks.twins import USUAL, K, X, Y, alone, close, identical_on_ranks, network
from tflbt import FGSM
from tflbt.data import BatchAugmentation
from tflbt.data.sample_seeds import uniform_integers
from tflbt.distributed import membership
from tflbt.training import GradientNorm, LargeBatchModel, NoiseScale, SmallLossDiscarding
from tflbt.training.keras_internals import concrete_functions


@pytest.fixture
def become(monkeypatch, rank):
    """Makes each process the only rank, as far as it knows, or one of two."""
    monkeypatch.setenv(membership.VARIABLE, "1")
    yield lambda ranks: membership.update(rank if ranks > 1 else 0, ranks)
    membership.update(rank, 2)


class Largest(K.metrics.Metric):
    """The largest error: a state that is no sum."""

    def __init__(self):
        super().__init__(name="largest")
        self.value = self.add_weight(name="value", initializer="zeros")

    def update_state(self, y, y_pred, sample_weight=None):
        self.value.assign(tf.maximum(self.value, tf.reduce_max(abs(y - y_pred))))

    def result(self):
        return tf.identity(self.value)


def noisy(x, seeds):
    return x + tf.cast(uniform_integers(seeds, 0, 3)[:, None] - 1, x.dtype) / 4


def regularized():
    K.utils.set_random_seed(1)
    inputs = K.Input([5])
    hidden = K.layers.Dense(8, "tanh", kernel_regularizer=K.regularizers.L2(0.1))(inputs)
    return K.Model(inputs, K.layers.Dense(2)(hidden))


def fgsm():
    return {
        "adversarial": FGSM(0.3, 0.2, valid_range=None),
        "rules": [SmallLossDiscarding(0.3, None, "update"), NoiseScale()],
    }


def instances():
    augmentation = BatchAugmentation(4)
    return {"batch_size": 32, "batch_augmentation": augmentation, "transform": noisy}


CASES = {
    "adversarial, small loss by update, noise scale": (network, {}, fgsm, 1e-5),
    "sum over ranks": (regularized, {"op": hvd.Sum}, lambda: {"rules": [GradientNorm()]}, 1e-5),
    "compression, instances": (network, {"compression": hvd.Compression.fp16}, instances, 3e-3),
}


def compiled(make, optimizer):
    model = LargeBatchModel.from_model(make())
    model.compile(optimizer, "mse", ["mae", Largest()])
    return model


def columns(model, epoch):
    """What the rules say of an epoch, but for the noise scale, which depends on the sub-batches."""
    rules = [rule for rule in model.rules if not isinstance(rule, NoiseScale)]
    return {name: value for rule in rules for name, value in rule.columns(epoch).items()}


@pytest.mark.parametrize("name", CASES)
def test_from_one_rank_to_two_and_back(name, become, monkeypatch):
    make, wrapping, options, atol = CASES[name]
    model = compiled(make, hvd.DistributedOptimizer(K.optimizers.SGD(0.1), **wrapping))
    arguments = {**USUAL, "shuffle": True, "validation_data": (X[:7], Y[:7]), **options()}
    sub_batch_size = 8 if "batch_augmentation" in arguments else 2
    history, seen = [], []
    for epoch, ranks in enumerate((1, 2, 1)):
        become(ranks)
        turn = {**arguments, "epochs": epoch + 1, "sub_batch_size": sub_batch_size}
        found = model.fit(X, Y, initial_epoch=epoch, **turn)
        history.append({key: values[0] for key, values in found.history.items()})
        seen.append(columns(model, epoch))
    assert len(concrete_functions(model.train_tf_function)) == 1
    identical_on_ranks([*model.get_weights(), *history[1].values()], "grown")

    monkeypatch.delenv(membership.VARIABLE)
    reference = compiled(make, alone(K.optimizers.SGD(0.1)))
    for epoch in range(3):
        # The sum of two ranks' means is twice the mean.
        reference.optimizer.learning_rate = 0.2 if "op" in wrapping and epoch == 1 else 0.1
        turn = {**arguments, "epochs": epoch + 1, "sub_batch_size": arguments["batch_size"]}
        found = reference.fit(X, Y, initial_epoch=epoch, **turn).history
        for key, values in found.items():
            np.testing.assert_allclose(history[epoch][key], values[0], atol=10 * atol, err_msg=key)
        factor = 2 if "op" in wrapping and epoch == 1 else 1
        for key, value in columns(reference, epoch).items():
            np.testing.assert_allclose(seen[epoch][key], factor * value, rtol=1e-4, err_msg=key)
    close(model.get_weights(), reference.get_weights(), atol)
