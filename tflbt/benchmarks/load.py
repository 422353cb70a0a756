"""What many updates and many fits in one process leave behind: memory, open files, and whether they become slower.

python -m tflbt.benchmarks load [--updates N] [--fits N]
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.benchmarks.side_by_side import Target, hold_against, parser_of, resident_mib
from tflbt.training import LargeBatchModel

BATCH = 8
PARTS = 10  # of the time, of which the second and the last are compared


def model_and_data(samples: int) -> tuple[LargeBatchModel, dict[str, Any]]:
    """A tiny model, compiled, and the arguments of a fit."""
    inputs = tf.keras.Input([4])
    model = LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
    model.compile(tf.keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    x = np.random.default_rng(0).normal(size=(samples, 4)).astype("float32")
    return model, {"x": x, "y": x[:, :1], "batch_size": BATCH, "verbose": 0}


def open_files() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))


class Marks(tf.keras.callbacks.Callback):
    """What is read at the ends of the parts of a loop: seconds of processor, MiB, open files."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self.every, self.turns = max(1, turns // PARTS), 0
        self.found: list[tuple[float, float, int]] = []

    def turn(self) -> None:
        """Counts a turn of the loop."""
        self.turns += 1
        if self.turns % self.every == 0:
            gc.collect()
            self.found.append((time.process_time(), resident_mib(), open_files()))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts an update."""
        self.turn()


def of_updates(updates: int) -> Marks:
    """One fit of so many updates, in ten epochs."""
    model, options = model_and_data(BATCH * max(1, updates // PARTS))
    marks = Marks(updates)
    model.fit(**options, epochs=PARTS, callbacks=[marks])
    return marks


def of_fits(fits: int) -> Marks:
    """So many fits of one model, of two updates each."""
    model, options = model_and_data(2 * BATCH)
    marks = Marks(fits)
    for _ in range(fits):
        model.fit(**options)
        marks.turn()
    return marks


def targets(what: str, marks: Marks) -> list[Target]:
    """What has grown from the second part to the last."""
    seconds, memory, files = zip(*marks.found)
    parts = [after - before for before, after in zip(seconds, seconds[1:])]
    half = max(1, len(parts) // 2)
    slower = statistics.median(parts[-half:]) / statistics.median(parts[:half])
    middle = len(memory) // 2  # after the second half as much as after the first
    return [
        Target(f"{what}: processor time, second half over first", slower, 1.1),
        Target(f"{what}: MiB that the second half adds", memory[-1] - memory[middle], 10),
        Target(f"{what}: open files that it adds", files[-1] - files[0], 0),
    ]


def main(argv: list[str]) -> int:
    """Measures, prints the figures and returns the exit status."""
    parser = parser_of("load", __doc__)
    parser.add_argument("--updates", type=int, default=50_000, help="of one fit (default 50000)")
    parser.add_argument("--fits", type=int, default=500, help="of one model (default 500)")
    options = parser.parse_args(argv)
    measured: list[tuple[str, Callable[[int], Marks], int]] = [
        (f"{options.updates} updates", of_updates, options.updates),
        (f"{options.fits} fits", of_fits, options.fits),
    ]
    found = []
    for what, run, turns in measured:
        marks = run(turns)
        for number, (seconds, memory, files) in enumerate(marks.found, start=1):
            print(
                f"{what}, part {number}: {seconds:.1f} s of processor, {memory:.0f} MiB, {files} files"
            )
        found += targets(what, marks)
    return hold_against(*found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
