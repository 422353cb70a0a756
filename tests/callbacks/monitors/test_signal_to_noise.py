"""Signal and noise of mini-batches against NumPy, and that a measurement leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.callbacks import SignalToNoise
from tflbt.training import LargeBatchModel

K = tf.keras
X = np.random.default_rng(0).normal(size=(26, 3)).astype("float32")
Y = X @ np.float32([[2.0], [1.0], [0.0]]) + 1


def by_hand(batch_size, batches):
    """NumPy: a linear unit with weights of 0, whose sample gradients are -2 y x."""
    gradients = -2 * X * Y
    direction = gradients.mean(0) / np.linalg.norm(gradients.mean(0))
    parts = gradients[: batch_size * batches].reshape(batches, batch_size, 3).mean(1)
    signal = np.abs(parts @ direction)
    noise = np.linalg.norm(parts - (parts @ direction)[:, None] * direction, axis=1)
    return signal.mean(), noise.mean()


@pytest.mark.parametrize(
    ("batch_size", "batches", "sub_batch_size"), [(4, 5, None), (8, 3, 3), (26, 1, 5)]
)
def test_it_is_what_numpy_computes(batch_size, batches, sub_batch_size):
    model = K.Sequential(
        [
            K.layers.Dense(
                1, use_bias=False, kernel_initializer="zeros", kernel_regularizer="l2",
                input_shape=(3,),
            )
        ]
    )  # fmt: skip
    inner = K.optimizers.SGD(0.0)
    model.compile(K.mixed_precision.LossScaleOptimizer(inner), "mse", run_eagerly=True)
    monitor = SignalToNoise((X, Y), batch_size, batches, sub_batch_size=sub_batch_size)
    history = model.fit(X, Y, verbose=0, callbacks=[monitor]).history
    signal, noise = by_hand(batch_size, batches)
    assert history["signal_length"] == [pytest.approx(signal, rel=1e-5)]
    if batch_size == len(X):
        assert history["noise_length"] == [0.0] and history["signal_to_noise"] == [np.inf]
    else:
        assert history["noise_length"] == [pytest.approx(noise, rel=1e-5)]
        assert history["signal_to_noise"] == [pytest.approx(signal / noise, rel=1e-5)]
    assert monitor.epoch_columns()["seconds_signal_to_noise"] > 0


def test_training_with_statistics_and_dropout_goes_on_as_if_it_had_not_been_measured():
    def train(*callbacks):
        K.utils.set_random_seed(0)
        inputs = K.Input([3])
        hidden = K.layers.BatchNormalization()(inputs)
        hidden = K.layers.Dropout(0.5, force_generator=True, seed=1)(hidden)
        model = LargeBatchModel(inputs, K.layers.Dense(1)(hidden))
        model.compile(K.optimizers.SGD(0.1), "mse", ["mae"], run_eagerly=True)
        options = {"batch_size": 13, "shuffle": False, "verbose": 0}
        history = model.fit(X, Y, epochs=2, callbacks=callbacks, **options).history
        return model.get_weights(), history

    monitor = SignalToNoise(lambda: (X, Y), 13, 2)
    (plain, history), (watched, columns) = train(), train(monitor)
    for found, wanted in zip(watched, plain):
        np.testing.assert_array_equal(found, wanted)
    assert all(columns[name] == history[name] for name in history)
    assert np.isfinite(columns["signal_to_noise"]).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 0}, "batch_size=0 must be"),
        ({"batches": 0}, "batches=0 must be"),
        ({"every": 0}, "every=0 must be"),
        ({"sub_batch_size": 0}, "sub_batch_size=0 must be"),
        ({"gradient_data": X}, "gradient_data=ndarray must be"),
    ],
)
def test_arguments_that_cannot_be_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        SignalToNoise(**{"gradient_data": (X, Y), "batch_size": 4, **options})


def test_too_few_samples_are_refused_before_training():
    with pytest.raises(ValueError, match="batches=8 of batch_size=4 need 32 .* have 26"):
        SignalToNoise((X, Y), 4).on_train_begin()
