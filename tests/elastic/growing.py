"""A training whose ranks come and go by a plan; `test_session.py` starts it under the elastic launcher.

python growing.py FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

import tflbt
from tflbt import elastic
from tflbt.callbacks import Checkpoint, GrowBatchSize, RunLog
from tflbt.distributed import comm, elastic_worker

EPOCHS = 9
X = np.random.default_rng(0).normal(size=(128, 6)).astype("float32")
Y = np.sin(X[:, :1] + X[:, 1:2])
# The batch wants two ranks from the second epoch on.
FIT = {"batch_size": 16, "sub_batch_size": 8, "epochs": EPOCHS, "verbose": 0}
TWO_SEATS, FIRST_SEAT, SECOND_SEAT = (
    "localhost slots=1\n127.0.0.1 slots=1\n",
    "localhost slots=1\n",
    "127.0.0.1 slots=1\n",
)


def compiled():
    tf.keras.utils.set_random_seed(1)
    inputs = tf.keras.Input([6])
    hidden = tf.keras.layers.Dense(8, "tanh")(inputs)
    model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(1)(hidden))
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), "mse", ["mae"])
    return model


def callbacks(folder):
    grow = GrowBatchSize([1], factor=2, max_batch_size=32)
    stop = tf.keras.callbacks.EarlyStopping("loss", patience=EPOCHS)
    return [grow, stop, RunLog(folder / "run", [], 0), Checkpoint(folder / "checkpoints", keep=20)]


class Plan(tf.keras.callbacks.Callback):
    """Who dies and which hosts leave, by epoch (from 0); waits until the launcher has seen it."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        with (self.folder / "epochs").open("a") as file:
            file.write(f"{epoch} {comm.rank()} {comm.size()} {os.getpid()}\n")

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, comm.rank(), comm.size()) == (4, 0, 2) and batch > 2:
            # In the middle of the epoch, with a new rank in its first epochs: it is ended once it does not answer.
            os.kill(os.getpid(), signal.SIGSTOP)

    def on_epoch_end(self, epoch, logs=None):
        if comm.rank():
            return
        if epoch == 2:
            self.await_event("announces 127.0.0.1-0-")
        if epoch == 4:
            self.await_event("announces localhost-0-", 1)
        if epoch == 5:
            (self.folder / "hosts").write_text(SECOND_SEAT)
            self.await_event("withdraws localhost-0-", 1)
        if epoch == 6 and not (self.folder / "died").exists():
            (self.folder / "dies").touch()
            (self.folder / "hosts").write_text(TWO_SEATS)
            self.await_event("announces localhost-0-", 2)

    def await_event(self, event, count=1):
        until = time.monotonic() + 120
        while (self.folder / "log").read_text().count(event) < count:
            assert time.monotonic() < until, event
            time.sleep(0.05)


def dies_while_it_joins(folder, wait_for_place=elastic_worker.wait_for_place):
    """Waits for a place; the first one after the plan says so dies as it gets it."""
    wait_for_place()
    if (folder / "dies").exists():
        (folder / "dies").rename(folder / "died")
        os._exit(9)


def main():
    tflbt.init()
    folder = Path(sys.argv[1])
    elastic_worker.wait_for_place = lambda: dies_while_it_joins(folder)
    model, used = compiled(), callbacks(folder)
    if elastic_worker.is_standby():  # as in a script that goes on where it ended
        used[-1].resume(model)
    found = elastic.fit(
        model, X, Y, samples_per_rank=16, callbacks=[*used[:-1], Plan(folder), used[-1]], **FIT
    )
    if comm.rank() == 0:
        np.save(folder / "weights.npy", np.concatenate([w.ravel() for w in model.get_weights()]))
        history = {name: [float(v) for v in values] for name, values in found.history.items()}
        (folder / "history.json").write_text(json.dumps([history, used[1].wait, used[1].best]))


if __name__ == "__main__":
    main()
