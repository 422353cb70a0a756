"""Groups of two ranks with a trial each: they train as two ranks alone do, and a rank's lone failure is recorded."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

SCRIPT = """
import sys

import keras_tuner
import numpy as np
import tensorflow as tf

import tflbt
from tflbt.distributed import comm

ranks, directory, failing = int(sys.argv[1]), sys.argv[2], sys.argv[3]
try:
    comm.init_groups(3)
except ValueError as error:
    print("REFUSED", error, flush=True)
group = comm.init_groups(ranks)
world = comm.size()
space = keras_tuner.HyperParameters()
space.Choice("rate", [0.1, 0.2, 0.3, 0.4])
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = x[:, :1]


class FailAlone(tf.keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise OSError("an accident")


def train(trial, folder, callbacks):
    assert tflbt.size() == ranks, "inside a trial the group is all there is"
    tf.keras.utils.set_random_seed(0)
    model = tflbt.LargeBatchModel.from_model(tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(4,))]))
    model.compile(tf.keras.optimizers.SGD(trial.values["rate"]), "mse")
    if failing == str(trial.number) and tflbt.rank() == 1:
        callbacks = [FailAlone(), *callbacks]
    model.fit(x, y, batch_size=32, sub_batch_size=8, epochs=3, verbose=0, callbacks=callbacks)


result = tflbt.tuning.Search(
    directory, space, "loss", tuner="GridSearch", ranks_per_trial=ranks, group=group, patience=3.0, verbose=0
).run(train)
print("RESULT", world, result.number, result.trials, flush=True)
"""


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "trials.csv").open() as file:
        return [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


@pytest.mark.ranks(4)
def test_groups_train_as_two_ranks_alone_do(run_ranks, tmp_path):
    alone, groups = tmp_path / "alone", tmp_path / "groups"
    done = run_ranks(SCRIPT, 2, args=("2", str(alone), "none"))
    assert done.stdout.count("RESULT 2 ") == 2
    assert "REFUSED ranks_per_group=3 does not divide the 2 ranks: use 1 or 2." in done.stdout
    done = run_ranks(SCRIPT, 4, args=("2", str(groups), "none"))
    assert done.stdout.count("RESULT 4 ") == 4 and len(rows(groups)) == 4
    assert rows(groups) == rows(alone)


@pytest.mark.ranks(4)
def test_a_failure_of_one_rank_of_a_group_ends_the_job_and_is_recorded(run_ranks, tmp_path):
    done = run_ranks(SCRIPT, 4, args=("2", str(tmp_path / "search"), "2"), check=False)
    assert done.returncode != 0 and "goes on" not in done.stdout and "--resume" in done.stdout
    failed = next(row for row in rows(tmp_path / "search") if row["trial"] == "2")
    assert failed["status"] == "failed" and "OSError: an accident" in failed["message"]
