"""A rank's program: rank 0 trains, and rank 1 does what the first argument names instead."""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np
import psutil
import tensorflow as tf

import tflbt

LONG = 600.0  # seconds
SLOW = 7.0  # more than twice the limit


def listening() -> set[str]:
    """The addresses at which this job's processes listen."""
    names = {"mpirun", "tflbt.distributed.horovodrun"}
    launcher = next(each for each in psutil.Process().parents() if names & set(each.cmdline()))
    family = [launcher, *launcher.children(recursive=True)]
    sockets = [each for process in family for each in process.net_connections("inet")]
    return {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}


def act(fate: str, lost: bool) -> None:
    """What happens to the ranks after their first sub-batches."""
    if not lost:
        if not act.__dict__.setdefault("told", False):
            act.told = True
            print("listens on", *listening(), flush=True)
    elif fate == "stopped":
        time.sleep(0.5)  # in which rank 0 looks at the sockets
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fate == "raises":
        raise ZeroDivisionError
    else:
        end = time.monotonic() + SLOW
        while time.monotonic() < end:
            pass
        print("worked for long", flush=True)
        time.sleep(LONG)


def train(fate: str, lost: bool) -> None:
    """Trains a small network."""
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
        callbacks=tf.keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_: act(fate, lost)),
    )


if __name__ == "__main__":
    tflbt.init()
    fate, lost = sys.argv[1], tflbt.rank() == 1
    if fate == "stuck_before_fit" and lost:
        time.sleep(LONG)
    train(fate, lost)
