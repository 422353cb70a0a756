"""Tests of what ends a run whose loss is no number."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel
from tflbt.callbacks import NonFiniteLoss


@pytest.mark.parametrize("cls", [tf.keras.Model, LargeBatchModel])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_update_that_first_sees_it_is_the_last(cls, value, data, make_model, rates):
    x, y = data[0], data[1].copy()
    y[12] = value  # in the second of four updates
    model = make_model(cls=cls)
    with pytest.raises(
        FloatingPointError, match=r"The loss is (nan|inf) in epoch 1 \(learning rate 0.01\)"
    ):
        model.fit(
            x,
            y,
            batch_size=8,
            epochs=3,
            shuffle=False,
            verbose=0,
            callbacks=[rates, NonFiniteLoss()],
        )
    assert len(rates.rates) == 2


def test_the_epoch_is_named(data, make_model):
    model = make_model()

    def spoil(epoch, logs):
        if epoch == 2:
            model.set_weights([w * np.nan for w in model.get_weights()])

    spoiler = tf.keras.callbacks.LambdaCallback(on_epoch_begin=spoil)
    with pytest.raises(FloatingPointError, match="in epoch 3"):
        model.fit(*data, epochs=5, verbose=0, callbacks=[spoiler, NonFiniteLoss()])


def test_a_large_loss_is_no_fault(data, make_model):
    x, y = data
    history = make_model(tf.keras.optimizers.SGD(0.0)).fit(
        x, y * 1e15, verbose=0, callbacks=[NonFiniteLoss()]
    )
    assert history.history["loss"][0] > 1e30


def test_under_a_loss_scale_a_skipped_update_is_no_fault(data, make_model):
    """The gradient overflows and the update is skipped, but the loss is finite: training goes on."""
    scaled = tf.keras.mixed_precision.LossScaleOptimizer(
        tf.keras.optimizers.SGD(1e-3), initial_scale=2.0**126
    )
    model = make_model(scaled)
    model.fit(*data, epochs=2, verbose=0, callbacks=[NonFiniteLoss()])
    assert float(scaled.loss_scale) < 2.0**126
