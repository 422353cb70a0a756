"""Writes checkpoints and dies: one process loads TensorFlow and forks a child for each way to die.

Arguments: a folder, and names of the functions here that are ways to die. Prints the children's exit statuses.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import resource
import signal
import sys
import time
import traceback

import numpy as np
import tensorflow as tf

from tflbt.training import checkpoint


class Writer:
    """A model and its checkpoints, of which the first two are written."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(4)])
        self.model.compile(tf.keras.optimizers.SGD(0.1), "mse")
        self.checkpoints = checkpoint.Checkpoints(folder, keep=2)
        for epoch in (1, 2):
            self.write(epoch, float(epoch))

    def write(self, epoch: int, value: float) -> None:
        """Writes a checkpoint whose weights all have a value."""
        weights = [np.full(w.shape, value, w.dtype) for w in self.model.get_weights()]
        self.model.set_weights(weights)
        self.checkpoints.write(self.model, epoch, {"value": value})


def die() -> None:
    """Ends this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(name: str, number: int) -> None:
    """Dies in a call, the `number`-th, of a function of checkpoint.py."""
    real, calls = getattr(checkpoint, name), []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            die()
        return real(*arguments)

    setattr(checkpoint, name, dying)


def before_the_manifest(writer: Writer) -> None:
    """The variables are written, the manifest is not."""
    die_at("_fingerprint", 2)
    writer.write(3, 3.0)


def while_flushing(writer: Writer) -> None:
    """Some files may not be on the disk."""
    die_at("_flush", 2)
    writer.write(3, 3.0)


def before_the_rename(writer: Writer) -> None:
    """All is written, but not in its place."""
    die_at("_put_in_place", 1)
    writer.write(3, 3.0)


def between_the_renames(writer: Writer) -> None:
    """The old checkpoint of the epoch is out of its place, the new one not yet in it."""
    real = pathlib.Path.rename

    def rename(path, target):
        real(path, target)
        if path.name == "epoch_00002":
            die()

    pathlib.Path.rename = rename
    writer.write(2, 22.0)


def while_removing(writer: Writer) -> None:
    """An old checkpoint has lost a file."""
    real = checkpoint.shutil.rmtree

    def rmtree(path, **options):
        if "epoch_00001" in str(path) and path.exists():
            (path / "state.json").unlink()
            die()
        real(path, **options)

    checkpoint.shutil.rmtree = rmtree
    writer.write(3, 3.0)


def at_any_moment(writer: Writer) -> None:
    """The parent kills it."""
    end = time.monotonic() + 60  # should nobody kill it
    epoch = 3
    while time.monotonic() < end:
        writer.write(epoch, float(epoch))
        epoch += 1


def full_disk(writer: Writer) -> None:
    """The size of files is limited, as the kernel of a full disk would: the write fails halfway."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    try:
        writer.write(3, 3.0)
    except OSError as error:
        caught = [type(error).__name__, error.filename, str(error)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    folder = writer.checkpoints.directory
    left = sorted(os.listdir(folder))
    restored = writer.checkpoints.restore_newest(writer.model)["epochs"]
    writer.write(3, 3.0)
    pathlib.Path(f"{folder}.json").write_text(json.dumps([caught, left, restored]))


WAYS = (
    before_the_manifest,
    while_flushing,
    before_the_rename,
    between_the_renames,
    while_removing,
    at_any_moment,
    full_disk,
)


def main(root: pathlib.Path, names: list[str]) -> dict[str, int]:
    """Forks a child for each way, before any of them computes, and waits for all."""
    ways = {way.__name__: way for way in WAYS}
    children = {}
    for name in names:
        children[name] = os.fork()
        if children[name] == 0:
            try:
                ways[name](Writer(root / name))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
    statuses = {}
    for name, child in children.items():
        if name == "at_any_moment":
            third = root / name / "epoch_00003"
            while not third.exists() and os.waitpid(child, os.WNOHANG)[0] == 0:
                time.sleep(0.005)
            time.sleep(random.uniform(0, 0.1))
            os.kill(child, signal.SIGKILL)
        statuses[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return statuses


if __name__ == "__main__":
    print(json.dumps(main(pathlib.Path(sys.argv[1]), sys.argv[2:])))
