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
        for ours, theirs in zip(found, wanted):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)

    return check


@pytest.fixture
def against_keras(same):
    """Trains a model in plain Keras, eagerly, and in sub-batches; asserts that weights and history are equal.

    `build()` makes the model, `compile` a new set of compile arguments; returns both trained models.
    """

    def check(
        build, compile, x, y=None, *, atol=1e-6, batch_size=16, sub_batch_size=4, epochs=2, **fit
    ):
        plain, ours = build(), LargeBatchModel.from_model(build())
        plain.compile(**{**compile(), "jit_compile": None, "run_eagerly": True})  # traces nothing
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
