"""A rank's program: rank 0 trains, and rank 1 does what the first argument names instead."""

from __future__ import annotations

import sys
import time

import numpy as np
import tensorflow as tf

import tflbt

LONG = 600.0  # seconds


def train(**events) -> None:
    """Trains a small network, with these events of Keras's LambdaCallback."""
    model = tflbt.LargeBatchModel.from_model(
        tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(5,))])
    )
    model.compile("sgd", "mse")
    model.fit(
        np.ones([30, 5], "float32"),
        np.ones([30, 2], "float32"),
        batch_size=16,
        sub_batch_size=2,
        epochs=3,
        verbose=0,
        callbacks=tf.keras.callbacks.LambdaCallback(**events),
    )


if __name__ == "__main__":
    tflbt.init()
    fate, lost = sys.argv[1], tflbt.rank() == 1
    if fate == "stuck_in_a_callback":
        train(on_train_batch_end=lambda batch, logs: lost and time.sleep(LONG))
    elif fate == "stuck_before_fit":
        if lost:
            time.sleep(LONG)
        train()
    elif fate == "raises":
        train(on_epoch_begin=lambda epoch, logs: 1 // (0 if lost else 1))
