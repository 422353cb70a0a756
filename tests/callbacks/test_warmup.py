"""Tests of the warm-up: its factor for every update, however updates are executed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel
from tflbt.callbacks import Warmup


def fit_rates(model, rates, x, y, warmup, **options):
    model.fit(x, y, verbose=0, callbacks=[warmup, rates], **options)
    return np.array(rates.rates)


@pytest.mark.parametrize("initial", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("epochs", [0.5, 1, 1.5, 3])
def test_every_update_has_its_factor(epochs, initial, data, make_model, rates):
    model = make_model(tf.keras.optimizers.SGD(0.1))
    found = fit_rates(model, rates, *data, Warmup(epochs, initial), batch_size=8, epochs=3)
    done = np.arange(1, 13) / 4
    np.testing.assert_allclose(
        found, 0.1 * (initial + (1 - initial) * np.minimum(1, done / epochs)), rtol=1e-6
    )


def test_the_shape_may_be_half_a_cosine_wave(data, make_model, rates):
    model = make_model(tf.keras.optimizers.SGD(0.1))
    found = fit_rates(model, rates, *data, Warmup(2, 0.2, shape="cosine"), batch_size=8, epochs=3)
    wave = (1 - np.cos(np.pi * np.minimum(1, np.arange(1, 13) / 8))) / 2
    np.testing.assert_allclose(found, 0.1 * (0.2 + 0.8 * wave), rtol=1e-6)


def test_steps_per_execution_counts_to_the_end_of_the_execution(data, make_model, rates):
    """Three updates run at once at one rate; the last execution of an epoch is one update."""
    model = make_model()
    model.compile(tf.keras.optimizers.SGD(0.1), "mse", steps_per_execution=3)
    found = fit_rates(model, rates, *data, Warmup(2), batch_size=8, epochs=2)
    np.testing.assert_allclose(found, 0.1 * np.array([3, 4, 7, 8]) / 8, rtol=1e-6)


def test_sub_batches_are_no_updates_and_the_last_partial_update_ends_the_epoch(
    data, make_model, rates
):
    """28 samples in sub-batches of 2: three updates of four of them and one of two."""
    x, y = (array[:28] for array in data)
    model = make_model(tf.keras.optimizers.SGD(0.1), cls=LargeBatchModel)
    found = fit_rates(model, rates, x, y, Warmup(2), batch_size=8, sub_batch_size=2, epochs=3)
    done = np.array([4, 8, 12, 14, 18, 22, 26, 28] + [28] * 4) / 28
    np.testing.assert_allclose(found, 0.1 * done, rtol=1e-6)


def test_a_batch_that_grows_does_not_lengthen_it(data, make_model, rates):
    model = make_model(tf.keras.optimizers.SGD(0.1), cls=LargeBatchModel)

    def grow(epoch, logs):
        model.batch_size = 16

    growth = tf.keras.callbacks.LambdaCallback(on_epoch_end=grow)
    options = {"batch_size": 8, "sub_batch_size": 4, "epochs": 2, "verbose": 0}
    model.fit(*data, callbacks=[Warmup(2), rates, growth], **options)
    np.testing.assert_allclose(rates.rates, 0.1 * np.array([1, 2, 3, 4, 6, 8]) / 8, rtol=1e-6)


def test_the_update_itself_uses_the_rate(data, make_model):
    """One update at a quarter of the rate is one quarter of the step."""
    moved = []
    for warmup in (Warmup(4), None):
        model = make_model(tf.keras.optimizers.SGD(0.01))
        before = model.get_weights()[0]
        model.fit(*data, batch_size=32, epochs=1, verbose=0, callbacks=[warmup] if warmup else [])
        moved.append(model.get_weights()[0] - before)
    np.testing.assert_allclose(4 * moved[0], moved[1], rtol=1e-4, atol=1e-7)


def test_a_second_fit_warms_up_again(data, make_model, rates):
    model, warmup = make_model(tf.keras.optimizers.SGD(0.1)), Warmup(2)
    for _ in range(2):
        fit_rates(model, rates, *data, warmup, batch_size=32, epochs=3)
    np.testing.assert_allclose(rates.rates, [0.05, 0.1, 0.1] * 2, rtol=1e-6)


def test_a_later_initial_epoch_goes_on(data, make_model, rates):
    model, warmup = make_model(tf.keras.optimizers.SGD(0.1)), Warmup(4)
    fit_rates(model, rates, *data, warmup, batch_size=32, epochs=2)
    fit_rates(model, rates, *data, warmup, batch_size=32, epochs=5, initial_epoch=2)
    np.testing.assert_allclose(rates.rates, [0.025, 0.05, 0.075, 0.1, 0.1], rtol=1e-6)


def test_a_finished_warmup_leaves_the_rate_alone(data, make_model, rates):
    def assign(epoch, logs):
        model.optimizer.learning_rate = 0.1 + epoch

    model = make_model(tf.keras.optimizers.SGD(0.1))
    other = tf.keras.callbacks.LambdaCallback(on_epoch_begin=assign)
    model.fit(*data, batch_size=32, epochs=3, verbose=0, callbacks=[Warmup(1), other, rates])
    np.testing.assert_allclose(rates.rates, [0.1, 1.1, 2.1], rtol=1e-6)


def endless(x, y):
    def generate():
        while True:
            yield x[:8], y[:8]

    spec = (tf.TensorSpec([8, 4]), tf.TensorSpec([8, 1]))
    return tf.data.Dataset.from_generator(generate, output_signature=spec)


def test_an_unknown_number_of_steps_is_an_error(data, make_model):
    with pytest.raises(ValueError, match="number of steps of an epoch.*steps_per_epoch"):
        make_model().fit(endless(*data).take(4), epochs=2, verbose=0, callbacks=[Warmup(1)])


def test_steps_per_epoch_tell_it(data, make_model, rates):
    model = make_model(tf.keras.optimizers.SGD(0.1))
    found = fit_rates(model, rates, endless(*data), None, Warmup(2), epochs=2, steps_per_epoch=2)
    np.testing.assert_allclose(found, [0.025, 0.05, 0.075, 0.1], rtol=1e-6)


@pytest.mark.parametrize("epochs", [0, -1, math.nan])
def test_wrong_epochs_are_named(epochs):
    with pytest.raises(ValueError, match="^epochs="):
        Warmup(epochs)


@pytest.mark.parametrize("initial", [-0.1, 1.1, math.nan])
def test_a_wrong_initial_factor_is_named(initial):
    with pytest.raises(ValueError, match="^initial_factor="):
        Warmup(1, initial)


def test_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match="^shape='square' must be one of 'linear', 'cosine'"):
        Warmup(1, shape="square")
