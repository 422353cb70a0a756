"""A rank's program: trains for two epochs and prints on rank 0 whether Horovod has NCCL, and a number of the weights.

The batch is global, so that the number does not depend on how many ranks there are, nor on how they talk.
"""

from __future__ import annotations

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

import tflbt


def main() -> None:
    """Trains and prints."""
    tflbt.init()
    inputs = tf.keras.Input([5])
    layer = tf.keras.layers.Dense(3, kernel_initializer="ones")
    model = tflbt.LargeBatchModel(inputs, layer(inputs))
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(48, 5)).astype("f4"), generator.normal(size=(48, 3)).astype("f4")
    model.fit(x, y, batch_size=16, sub_batch_size=4, epochs=2, shuffle=False, verbose=0)
    if tflbt.is_chief():
        weights = sum(float(abs(weight).sum()) for weight in model.get_weights())
        print(
            f"ranks={tflbt.size()} nccl={int(hvd.nccl_built())} weights={weights:.5f}", flush=True
        )


if __name__ == "__main__":
    main()
