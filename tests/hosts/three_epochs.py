"""A rank's program: trains for three epochs with checkpoints, and waits in the second until a cable has been cut."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

import tflbt


def train(folder: Path | None, epochs: int = 3) -> list[np.ndarray]:
    """Returns the weights after three epochs, of which those that the folder holds are not trained again."""
    tf.keras.utils.set_random_seed(3)
    model = tflbt.LargeBatchModel.from_model(
        tf.keras.Sequential([tf.keras.layers.Dense(3, input_shape=(5,))])
    )
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(48, 5)).astype("f4"), generator.normal(size=(48, 3)).astype("f4")
    callbacks, begin = [], 0
    if folder is not None:
        checkpoint = tflbt.callbacks.Checkpoint(folder / "checkpoints")
        begin = checkpoint.resume(model)
        wait = tf.keras.callbacks.LambdaCallback(
            on_train_batch_begin=lambda *_: wait_for_cut(model, folder)
        )
        callbacks = [wait, checkpoint]
    model.fit(
        x,
        y,
        batch_size=16,
        sub_batch_size=4,
        epochs=epochs,
        initial_epoch=begin,
        callbacks=callbacks,
        verbose=0,
    )
    return model.get_weights()


def wait_for_cut(model: tf.keras.Model, folder: Path) -> None:
    """In the second epoch's second update."""
    if int(model.optimizer.iterations) == 4 and not (folder / "cut").exists():
        (folder / f"now-{tflbt.rank()}").touch()
        while not (folder / "cut").exists():
            time.sleep(0.05)


if __name__ == "__main__":
    tflbt.init()
    folder = Path(sys.argv[1])
    seen = {"host": socket.gethostname(), "variables": dict(os.environ)}
    (folder / f"rank-{tflbt.rank()}.json").write_text(json.dumps(seen))
    weights = train(folder)
    if tflbt.is_chief():
        np.savez(folder / "end.npz", *weights)
