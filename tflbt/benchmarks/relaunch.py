"""What it costs to go on with two ranks by starting the job again: checkpoint, end, new processes, first update.

python -m tflbt.benchmarks relaunch [--rounds N] [--mpi]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import tflbt
from tflbt import callbacks
from tflbt.benchmarks.side_by_side import Target, hold_against, parser_of

LAUNCHER = Path(__file__).resolve().parents[2] / "launch" / "local.sh"
FLOOR = 15.0  # seconds
_TIMES = (
    "times"  # a line each for the end of the last epoch on one rank, and the first update on two
)


class Clock(tf.keras.callbacks.Callback):
    """Notes when each epoch ends, and when the first update of a start does."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file, self._first = file, True

    def _note(self, what: str) -> None:
        if tflbt.rank() == 0:
            with self.file.open("a") as file:
                file.write(f"{tflbt.size()} {what} {time.time()}\n")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Notes the first."""
        if self._first:
            self._note("update")
        self._first = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Notes it, before the checkpoint is written."""
        self._note("epoch")


def train(folder: Path) -> None:
    """What a rank runs: a batch that doubles after the first of two epochs, and with it the ranks."""
    tflbt.init()
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2048, 64)).astype("float32")
    y = generator.integers(0, 10, 2048)
    inputs = tf.keras.Input([64])
    hidden = tf.keras.layers.Dense(256, activation="relu")(inputs)
    model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(10)(hidden))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), loss)
    checkpoint = callbacks.Checkpoint(folder)
    begin = checkpoint.resume(model)
    model.fit(
        x, y, batch_size=checkpoint.batch_size or 256, sub_batch_size=256, epochs=2, initial_epoch=begin, verbose=0,
        callbacks=[
            callbacks.GrowBatchSize([1], 2.0, max_batch_size=512), Clock(folder / _TIMES),
            callbacks.ElasticRanks(max_ranks=2), checkpoint,
        ],
    )  # fmt: skip


def relaunch_seconds(controller: str = "--gloo") -> float:
    """Runs a job that grows from one rank to two; returns the seconds in which nothing was trained.

    From the end of the last epoch on one rank to the end of the first update on two.

    Args:
        controller: "--gloo" (default) or "--mpi".

    Raises:
        RuntimeError: If the job fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        program = ["python", "-m", "tflbt.benchmarks", "relaunch", f"--program={folder}"]
        done = subprocess.run(
            ["bash", str(LAUNCHER), controller, "--elastic", "--checkpoints", folder, "1", *program],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"the job failed: {(done.stdout + done.stderr)[-2000:]}")
        times = {}
        for line in (Path(folder) / _TIMES).read_text().splitlines():
            ranks, what, moment = line.split()
            times[ranks, what] = float(moment)
    return times["2", "update"] - times["1", "epoch"]


def main(argv: list[str]) -> int:
    """Prints the median of several relaunches against its floor."""
    parser = parser_of("relaunch", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="relaunches (default 5)")
    parser.add_argument("--mpi", action="store_true", help="over Open MPI in place of Gloo")
    parser.add_argument("--program", type=Path, help="what a rank runs; for the launcher")
    options = parser.parse_args(argv)
    if options.program is not None:
        train(options.program)
        return 0
    controller = "--mpi" if options.mpi else "--gloo"
    seconds = [relaunch_seconds(controller) for _ in range(options.rounds)]
    print(f"From one rank to two, {len(seconds)} times: {', '.join(f'{s:.1f}' for s in seconds)} s")
    return hold_against(
        Target("seconds without training, median", statistics.median(seconds), FLOOR)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
