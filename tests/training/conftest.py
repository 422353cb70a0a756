"""Samples, small networks, and the comparison most tests here rest on: sub-batches against plain Keras."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import LargeBatchModel


@pytest.fixture
def samples():
    """30 samples: at batch 16 the last update of an epoch has 14, in sub-batches of 4: 4 + 4 + 4 + 2."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 5)).astype("float32")
    return x, np.stack([np.sin(x.sum(1)), x[:, 0] * x[:, 1]], 1)


@pytest.fixture
def labels(samples):
    return (samples[0].sum(1) > 0).astype("int64")


@pytest.fixture
def network():
    """Builds the same dense network each time, with `outputs` units."""

    def build(outputs: int = 2, activation: str | None = None, **last) -> tf.keras.Model:
        tf.keras.utils.set_random_seed(1)
        inputs = tf.keras.Input([5])
        hidden = tf.keras.layers.Dense(8, "tanh")(inputs)
        return tf.keras.Model(inputs, tf.keras.layers.Dense(outputs, activation, **last)(hidden))

    return build


@pytest.fixture
def same():
    """Asserts that two lists of arrays are equal to a tolerance."""

    def check(found, wanted, atol: float = 1e-6) -> None:
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted):
            np.testing.assert_allclose(one, other, rtol=0, atol=atol)

    return check


@pytest.fixture
def against_keras(same):
    """Trains a model in plain Keras and in sub-batches and asserts that weights and history are equal.

    `build()` makes the model, `compile` a new set of compile arguments; returns both trained models.
    """

    def check(
        build, compile, x, y=None, *, atol=1e-6, batch_size=16, sub_batch_size=4, epochs=2, **fit
    ):
        plain, ours = build(), LargeBatchModel.from_model(build())
        plain.compile(**compile())
        ours.compile(**compile())
        fit = {"epochs": epochs, "batch_size": batch_size, "shuffle": False, "verbose": 0, **fit}
        wanted = plain.fit(x, y, **fit).history
        found = ours.fit(x, y, sub_batch_size=sub_batch_size, **fit).history
        same(ours.get_weights(), plain.get_weights(), atol)
        assert found.keys() == wanted.keys()
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values, rtol=2e-5, atol=atol, err_msg=name)
        return ours, plain

    return check


# What every script on ranks begins with. Each rank also has a Horovod process set of its own, in which it can do
# what one process would do.
PRELUDE = """
import numpy as np
import tensorflow as tf
import tflbt
import horovod.tensorflow.keras as hvd

sets = [hvd.ProcessSet([0]), hvd.ProcessSet([1])]
hvd.init(process_sets=sets)
from tflbt.distributed import comm
from tflbt.optimizers import LARS
from tflbt.training import LargeBatchModel

tflbt.init()
K, rank = tf.keras, tflbt.rank()
assert tflbt.size() == 2
x = np.random.default_rng(0).standard_normal((30, 5)).astype("float32")
y = np.stack([np.sin(x.sum(1)), x[:, 0] * x[:, 1]], 1)
USUAL = dict(batch_size=16, sub_batch_size=2, epochs=3, shuffle=False, verbose=0)  # 16 + 14 samples an epoch


def network(norm=False, outputs=2, activation=None, seed=1, units=8):
    K.utils.set_random_seed(seed)
    inputs = K.Input([5])
    hidden = K.layers.Dense(units, "tanh")(inputs)
    hidden = K.layers.BatchNormalization()(hidden) if norm else hidden
    return K.Model(inputs, K.layers.Dense(outputs, activation)(hidden))


def large(optimizer, model=None, loss="mse", metrics=("mae",), data=None, **arguments):
    model = LargeBatchModel.from_model(model or network())
    model.compile(optimizer, loss, list(metrics))
    data = (x, y) if data is None else data
    history = model.fit(*data, **{**USUAL, **arguments}).history
    return model, history


def plain(optimizer, model=None, loss="mse", metrics=("mae",), data=None, **arguments):
    model = model or network()
    model.compile(optimizer, loss, list(metrics))
    arguments = {**USUAL, **arguments}
    arguments.pop("sub_batch_size")
    history = model.fit(*((x, y) if data is None else data), **arguments).history
    return model, history


def close(found, wanted, atol=1e-5):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


def identical_on_ranks(values, what):
    mine = [np.asarray(value).tobytes() for value in values]
    assert len({tuple(held) for held in comm.gather_objects(mine, "test." + what)}) == 1, what


def check(trained, reference, atol=1e-5):
    (model, history), (wanted, wanted_history) = trained, reference
    close(model.get_weights(), wanted.get_weights(), atol)
    assert history.keys() == wanted_history.keys()
    for name in history:
        np.testing.assert_allclose(history[name], wanted_history[name], rtol=2e-5, atol=atol, err_msg=name)
    identical_on_ranks([*model.get_weights(), *history.values()], "weights")
"""


@pytest.fixture
def on_ranks(run_ranks):
    """Runs the prelude and a script on two ranks; both must get to the script's end unless `check` is False."""

    def run(script: str, check: bool = True, **arguments):
        done = run_ranks(
            PRELUDE + script + '\nprint(f"the end {rank}\\n", end="", flush=True)\n',
            check=check,
            **arguments,
        )
        if check:
            assert "the end 0" in done.stdout and "the end 1" in done.stdout
        return done

    return run
