"""Tests of the step-wise decay."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tflbt.callbacks import StepDecay


def test_rates_by_epoch_and_what_the_row_says(data, make_model, rates):
    decay, told = StepDecay([1, 3], 0.1), []
    row = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: told.append(decay.epoch_columns())
    )
    model = make_model(tf.keras.optimizers.SGD(0.1))
    model.fit(*data, batch_size=32, epochs=4, verbose=0, callbacks=[decay, rates, row])
    np.testing.assert_allclose(rates.rates, [0.1, 0.01, 0.01, 0.001], rtol=1e-6)
    assert told == [{"decays": 0}, {"decays": 1}, {"decays": 1}, {"decays": 2}]


def test_a_second_fit_begins_at_the_full_rate(data, make_model, rates):
    model, decay = make_model(tf.keras.optimizers.SGD(0.1)), StepDecay([1], 0.5)
    for _ in range(2):
        model.fit(*data, batch_size=32, epochs=2, verbose=0, callbacks=[decay, rates])
    np.testing.assert_allclose(rates.rates, [0.1, 0.05] * 2, rtol=1e-6)


def test_going_on_at_a_later_epoch_does_not_decay_twice(data, make_model, rates):
    model, decay = make_model(tf.keras.optimizers.SGD(0.1)), StepDecay([1], 0.5)
    model.fit(*data, batch_size=32, epochs=2, verbose=0, callbacks=[decay, rates])
    model.fit(*data, batch_size=32, epochs=4, initial_epoch=2, verbose=0, callbacks=[decay, rates])
    np.testing.assert_allclose(rates.rates, [0.1, 0.05, 0.05, 0.05], rtol=1e-6)


def test_a_decay_may_lie_inside_an_epoch(data, make_model, rates):
    decay = StepDecay([1.5], 0.5)
    model = make_model(tf.keras.optimizers.SGD(0.1))
    model.fit(*data, batch_size=16, epochs=3, verbose=0, callbacks=[decay, rates])
    np.testing.assert_allclose(rates.rates, [0.1, 0.1, 0.1, 0.05, 0.05, 0.05], rtol=1e-6)
    assert [decay.factor_after(epochs) for epochs in (1, 1.5, 2)] == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("epochs", [[], [0], [-1], [3, 2], [2, 2], 150])
def test_wrong_epochs_are_named(epochs):
    with pytest.raises(ValueError, match="^epochs="):
        StepDecay(epochs)


@pytest.mark.parametrize("factor", [0, 1, -0.1, 10, math.nan])
def test_a_wrong_factor_is_named(factor):
    with pytest.raises(ValueError, match="^factor="):
        StepDecay([1], factor)
