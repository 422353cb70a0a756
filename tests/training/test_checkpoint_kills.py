"""Tests of checkpoints written by real processes that are killed, or run out of space, in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training.checkpoint import Checkpoints, damage

KILLS = {  # what must be restored afterwards
    "before_the_manifest": (2, 2.0),
    "while_flushing": (2, 2.0),
    "before_the_rename": (2, 2.0),
    "between_the_renames": (2, 2.0),
    "while_removing": (3, 3.0),
}


@pytest.fixture(scope="module")
def deaths(tmp_path_factory):
    """The folder in which each way to die left its checkpoints, and the exit statuses."""
    folder = tmp_path_factory.mktemp("deaths")
    path = Path(__file__).with_name("dying_writer.py")
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        [sys.executable, str(path), str(folder), "at_any_moment", "full_disk", *KILLS],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads(done.stdout.splitlines()[-1]), done.stderr


def plain_model():
    model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(4)])
    model.compile(tf.keras.optimizers.SGD(0.1), "mse")
    return model


def newest(checkpoints):
    """(epoch, value) of what is restored; the weights must be the state's."""
    model = plain_model()
    state = checkpoints.restore_newest(model)
    for weight in model.get_weights():
        np.testing.assert_array_equal(weight, np.full(weight.shape, state["value"]))
    return state["epochs"], state["value"]


def assert_whole_and_goes_on(checkpoints):
    """What is there is whole; the next checkpoint is written and nothing of the killed write stays."""
    assert all(damage(path) is None for path in checkpoints.found())
    model = plain_model()
    epoch = checkpoints.restore_newest(model)["epochs"]
    path = checkpoints.write(model, epoch + 1, {})
    assert checkpoints.newest_good() == path
    assert set(checkpoints.directory.iterdir()) == set(checkpoints.found())


@pytest.mark.parametrize("way", KILLS)
def test_killed_at_a_chosen_moment(way, deaths):
    folder, statuses, error = deaths
    assert statuses[way] == -signal.SIGKILL, error[-3000:]
    checkpoints = Checkpoints(folder / way)
    assert newest(checkpoints) == KILLS[way]
    assert_whole_and_goes_on(checkpoints)


def test_killed_at_any_moment(deaths):
    folder, statuses, _ = deaths
    assert statuses["at_any_moment"] == -signal.SIGKILL
    checkpoints = Checkpoints(folder / "at_any_moment")
    epoch, value = newest(checkpoints)
    assert epoch == value >= 3
    assert_whole_and_goes_on(checkpoints)


def test_a_full_disk_is_one_error_that_names_the_checkpoint(deaths):
    """The size of files is limited, as the kernel of a full disk would: the write fails halfway."""
    folder, statuses, error = deaths
    assert statuses["full_disk"] == 0, error[-3000:]
    (kind, name, said), left, restored = json.loads((folder / "full_disk.json").read_text())
    assert kind == "OSError"
    assert name == f"{folder}/full_disk/epoch_00003"
    assert "is the disk full? Earlier checkpoints are intact" in said
    assert left == ["epoch_00001", "epoch_00002"]
    assert restored == 2
    assert newest(Checkpoints(folder / "full_disk")) == (3, 3.0)
