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


class OnDevice:
    """A loss on a GPU, of which reading makes the host wait."""

    device = "/job:localhost/replica:0/task:0/device:GPU:0"

    def __init__(self, value):
        self.value, self.reads = value, 0

    def __float__(self):
        """Counts the reads."""
        self.reads += 1
        return self.value


def on_gpu(steps, make_model):
    """The callback at the beginning of its second epoch, which has so many steps."""
    callback = NonFiniteLoss()
    callback.set_model(make_model())
    callback.set_params({"steps": steps})
    callback.on_epoch_begin(1)
    return callback


@pytest.mark.parametrize("steps", [40, None])
def test_a_loss_on_a_gpu_is_read_now_and_then(steps, make_model):
    callback, loss = on_gpu(steps, make_model), OnDevice(1.0)
    for batch in range(40):
        callback.on_train_batch_end(batch, {"loss": loss})
    assert loss.reads == (3 if steps else 2)  # updates 16 and 32, and the last one if it is known


def test_a_nan_on_a_gpu_ends_its_own_epoch(make_model):
    loss = OnDevice(float("nan"))
    callback = on_gpu(5, make_model)
    callback.on_train_batch_end(3, {"loss": loss})
    with pytest.raises(FloatingPointError, match="in epoch 2"):
        callback.on_train_batch_end(4, {"loss": loss})
    callback = on_gpu(None, make_model)
    callback.on_train_batch_end(4, {"loss": loss})
    with pytest.raises(FloatingPointError, match="in epoch 2"):
        callback.on_epoch_end(1, {"loss": float("nan")})


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
