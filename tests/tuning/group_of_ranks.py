"""A rank's program: a search in groups, and then another with a trial that fails on one rank.

Arguments: the ranks of a group, the directory, and, if the second one is wanted, its directory and that trial's number.
`search` is also what a process does alone, for comparison.
"""

from __future__ import annotations

import sys
from typing import Any

import keras_tuner
import numpy as np
import tensorflow as tf

import tflbt
from tflbt.distributed import comm

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")


class FailAlone(tf.keras.callbacks.Callback):
    """Raises in the second epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise OSError("an accident")


def main(ranks: int, directory: str, *second: str) -> None:
    """Searches once or twice."""
    try:
        comm.init_groups(3)
    except ValueError as error:
        print("REFUSED", error, flush=True)
    group = comm.init_groups(ranks)
    search(ranks, group, directory)
    if second:
        search(ranks, group, *second)


def search(ranks: int, group: Any, directory: str, failing: str = "none") -> None:
    """Searches over four learning rates."""
    world = comm.size()
    space = keras_tuner.HyperParameters()
    space.Choice("rate", [0.1, 0.2, 0.3, 0.4])

    def train(trial, folder, callbacks):
        assert tflbt.size() == ranks, "inside a trial the group is all there is"
        tf.keras.utils.set_random_seed(0)
        model = tflbt.LargeBatchModel.from_model(
            tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(4,))])
        )
        model.compile(tf.keras.optimizers.SGD(trial.values["rate"]), "mse", run_eagerly=True)
        if failing == str(trial.number) and tflbt.rank() == 1:
            callbacks = [FailAlone(), *callbacks]
        model.fit(
            X, X[:, :1], batch_size=32, sub_batch_size=8, epochs=3, verbose=0, callbacks=callbacks
        )

    result = tflbt.tuning.Search(
        directory, space, "loss", tuner="GridSearch", ranks_per_trial=ranks, group=group,
        patience=3.0, verbose=0,
    ).run(train)  # fmt: skip
    print("RESULT", world, result.number, result.trials, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
