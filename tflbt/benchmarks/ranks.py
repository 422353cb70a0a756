"""Images/s of two ranks, each with a core to itself, over those of two processes that know nothing of each other.

Ranks wait for one another in every update: beside the ratios stands what the two processes would do if they did.

python -m tflbt.benchmarks ranks [--rounds N] [--updates N] [--epochs N] [--sub_batch N] [--depth N] [--over gloo mpi]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import init, size
from tflbt.benchmarks.side_by_side import Target, hold_against, lines_of, parser_of
from tflbt.benchmarks.sub_batches import add_depth, images, large_batch_model
from tflbt.distributed.launcher import LAUNCHER_VARIABLES, rank_by_launcher

SUB_BATCHES = 4  # of an update, on each rank
FLOOR = 0.97


class UpdateEnds(tf.keras.callbacks.Callback):
    """Notes when each update ends."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """An update ends."""
        self.moments.append(time.perf_counter())


def train(options: argparse.Namespace) -> np.ndarray:
    """What a process runs, on a core of its own; returns the seconds of each update after the first epoch."""
    core = sorted(os.sched_getaffinity(0))[rank_by_launcher()]
    os.sched_setaffinity(0, {core})  # TensorFlow has not yet begun its threads
    if options.alone:
        for name in LAUNCHER_VARIABLES:
            os.environ.pop(name, None)
    else:
        init()
    batch = size() * SUB_BATCHES * options.sub_batch
    ends = UpdateEnds()
    large_batch_model(options.depth).fit(
        *images(options.updates * batch), batch_size=batch, sub_batch_size=options.sub_batch,
        epochs=1 + options.epochs, verbose=0, callbacks=[ends],
    )  # fmt: skip
    return np.diff(ends.moments)[options.updates - 1 :]


def seconds_of_updates(launcher: str, over: str, words: list[str]) -> np.ndarray:
    """Of two processes that a launcher starts: a row for each."""
    program = [sys.executable, "-m", "tflbt.benchmarks", "ranks", "--train", *words]
    lines = lines_of([launcher, "-np", "2", f"--{over}", *program])
    rows = re.findall(r"seconds ([\d. ]+)", "\n".join(lines))
    return np.array([row.split() for row in rows], float)


def images_per_second(seconds: np.ndarray, options: argparse.Namespace) -> float:
    """The sum over processes, of each of which there is a row of the seconds of its updates."""
    return float((SUB_BATCHES * options.sub_batch / seconds.mean(1)).sum())


def main(argv: list[str]) -> int:
    """Prints images/s, and the ratios beside their floor."""
    parser = parser_of("ranks", __doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of new processes (default 3)")
    parser.add_argument("--updates", type=int, default=8, help="of an epoch (default 8)")
    parser.add_argument("--epochs", type=int, default=2, help="after the first (default 2)")
    parser.add_argument("--sub_batch", type=int, default=64, help="its images (default 64)")
    add_depth(parser)
    parser.add_argument("--over", nargs="+", choices=("gloo", "mpi"), default=["gloo", "mpi"])
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.train:
        print(f"seconds {' '.join(f'{taken:.5f}' for taken in train(options))}")
        return 0
    launcher = shutil.which("horovodrun")
    if launcher is None or len(os.sched_getaffinity(0)) < 2:
        missing = "horovodrun is not on PATH" if launcher is None else "there is one core"
        print(f"{missing}: nothing measured, 0 bounds met")
        return 0
    candidates = {"two processes": ("gloo", [*argv, "--alone"])}
    candidates |= {f"two ranks over {over}": (over, argv) for over in options.over}
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    waiting = []
    for _ in range(options.rounds):
        for name, (over, words) in candidates.items():
            seconds = seconds_of_updates(launcher, over, words)
            rates[name].append(images_per_second(seconds, options))
            if "--alone" in words:
                slower = np.broadcast_to(seconds.max(0), seconds.shape)
                waiting.append(images_per_second(slower, options) / rates[name][-1])
    (_, alone), *together = rates.items()
    for name, found in rates.items():
        print(f"{name:<52} {statistics.median(found):8.1f} images/s")
    limit = statistics.median(waiting)
    print(f"limit: the two processes, had each update waited for the slower one {limit:.3f}")
    ratios = {name: [a / b for a, b in zip(found, alone)] for name, found in together}
    return hold_against(
        *(
            Target(f"{name} / two processes", statistics.median(found), FLOOR, at_least=True)
            for name, found in ratios.items()
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
