"""A training that grows from one rank to two; `test_ray_cluster.py` starts it on Ray: python ray_growth.py FOLDER."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

import tflbt
from tflbt import elastic
from tflbt.callbacks import RunLog
from tflbt.distributed import comm

X = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
FIT = {"batch_size": 16, "sub_batch_size": 8, "epochs": 4, "verbose": 0}


def compiled():
    tf.keras.utils.set_random_seed(1)
    inputs = tf.keras.Input([6])
    model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


class Waits(tf.keras.callbacks.Callback):
    """Waits, at the end of the second epoch, until another rank is announced."""

    def __init__(self, log):
        super().__init__()
        self.log = log

    def on_epoch_end(self, epoch, logs=None):
        until = time.monotonic() + 120
        while epoch == 1 and "announces" not in self.log.read_text():
            assert time.monotonic() < until
            time.sleep(0.05)


def main():
    tflbt.init()
    folder, model = Path(sys.argv[1]), compiled()
    callbacks = [Waits(folder / "log"), RunLog(folder / "run", [], 0)]
    elastic.fit(model, X, X[:, :1], samples_per_rank=8, callbacks=callbacks, **FIT)
    if comm.rank() == 0:
        np.save(folder / "weights.npy", model.get_weights()[0])


if __name__ == "__main__":
    main()
