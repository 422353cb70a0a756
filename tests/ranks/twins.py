"""What the tests of two ranks compare: a training by both, by one of them alone, and by plain Keras."""

from __future__ import annotations

import horovod.tensorflow.keras as hvd
import numpy as np
import tensorflow as tf

from tflbt.distributed import comm
from tflbt.training import LargeBatchModel

K = tf.keras
# A process set for each rank alone, in which it can do what one process would do.
SETS = [hvd.ProcessSet([0]), hvd.ProcessSet([1])]
X = np.random.default_rng(0).standard_normal((30, 5)).astype("float32")
Y = np.stack([np.sin(X.sum(1)), X[:, 0] * X[:, 1]], 1)
X.flags.writeable = Y.flags.writeable = False
# 16 + 14 samples an epoch.
USUAL = {"batch_size": 16, "sub_batch_size": 2, "epochs": 3, "shuffle": False, "verbose": 0}


def alone(optimizer, **options):
    """The optimizer as this rank uses it that trains by itself."""
    return hvd.DistributedOptimizer(optimizer, process_set=SETS[comm.rank()], **options)


def network(norm=False, outputs=2, activation=None, seed=1, units=8):
    """The same dense network each time."""
    K.utils.set_random_seed(seed)
    inputs = K.Input([5])
    hidden = K.layers.Dense(units, "tanh")(inputs)
    hidden = K.layers.BatchNormalization()(hidden) if norm else hidden
    return K.Model(inputs, K.layers.Dense(outputs, activation)(hidden))


def large(optimizer, model=None, loss="mse", metrics=("mae",), data=None, **arguments):
    """A LargeBatchModel, trained, and its history."""
    model = LargeBatchModel.from_model(model or network())
    model.compile(optimizer, loss, list(metrics))
    data = (X, Y) if data is None else data
    history = model.fit(*data, **{**USUAL, **arguments}).history
    return model, history


def plain(optimizer, model=None, loss="mse", metrics=("mae",), data=None, **arguments):
    """A plain Keras model, trained eagerly by whole batches, and its history."""
    model = model or network()
    model.compile(optimizer, loss, list(metrics), run_eagerly=True)
    arguments = {**USUAL, **arguments}
    arguments.pop("sub_batch_size")
    history = model.fit(*((X, Y) if data is None else data), **arguments).history
    return model, history


def close(found, wanted, atol=1e-5):
    """Asserts that two lists of arrays are equal to a tolerance."""
    assert len(found) == len(wanted)
    for mine, other in zip(found, wanted):
        np.testing.assert_allclose(mine, other, rtol=0, atol=atol)


def identical_on_ranks(values, what):
    """Asserts that all ranks hold the same bits."""
    mine = tuple(np.asarray(value).tobytes() for value in values)
    assert len(set(comm.gather_objects(mine, f"test.{what}"))) == 1, what


def check(trained, reference, atol=1e-5):
    """Asserts that weights and history are the reference's, and the same on all ranks."""
    (model, history), (wanted, wanted_history) = trained, reference
    close(model.get_weights(), wanted.get_weights(), atol)
    assert history.keys() == wanted_history.keys()
    for name in history:
        np.testing.assert_allclose(
            history[name], wanted_history[name], rtol=2e-5, atol=atol, err_msg=name
        )
    identical_on_ranks([*model.get_weights(), *history.values()], "weights")
