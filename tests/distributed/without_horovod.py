"""A program: trains where Horovod cannot be imported. Alone that works; under a launcher it is refused."""

from __future__ import annotations

import os
import sys

import numpy as np


def main() -> None:
    """Trains alone, then as if launched in three ways."""
    sys.modules["horovod"] = None  # importing it raises ImportError
    import tensorflow as tf

    import tflbt

    tflbt.init()
    inputs = tf.keras.Input([3])
    model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    x = np.ones([8, 3], "float32")
    model.fit(x, x[:, :1], batch_size=8, sub_batch_size=2, verbose=0, validation_split=0.5)
    assert int(model.optimizer.iterations) == 1
    for variable in ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        os.environ[variable] = "0"
        for call in (tflbt.init, tflbt.size, lambda: model.fit(x, x[:, :1], verbose=0)):
            try:
                call()
            except RuntimeError as error:
                assert "Horovod cannot be imported" in str(error), error
                assert "mpi/install.sh" in str(error), error
            else:
                raise AssertionError("launched, but trains alone")
        del os.environ[variable]


if __name__ == "__main__":
    main()
