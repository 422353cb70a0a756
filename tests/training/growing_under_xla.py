"""Trains and evaluates a model under XLA while its batch grows, in sub-batches of 4 samples, the last of which has 2.

The flag by which XLA writes down what it compiles counts from the start of a process only.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tflbt.training import LargeBatchModel

K = tf.keras


def main() -> None:
    """Prints the batch size of each epoch, and how many updates were made."""
    x = np.random.default_rng(0).normal(size=(18, 5)).astype("float32")
    inputs = K.Input([5])
    model = LargeBatchModel(inputs, K.layers.Dense(2)(K.layers.Dense(8, "tanh")(inputs)))
    model.compile("sgd", "mse", ["mae"], jit_compile=True)

    def grow(epoch, logs):
        model.batch_size = 4 * 2**epoch
        print(model.batch_size)

    callbacks = [K.callbacks.LambdaCallback(on_epoch_begin=grow)]
    options = {"batch_size": 4, "sub_batch_size": 4, "epochs": 3, "callbacks": callbacks}
    model.fit(x, x[:, :2], validation_data=(x, x[:, :2]), verbose=0, **options)
    print(int(model.optimizer.iterations))


if __name__ == "__main__":
    main()
