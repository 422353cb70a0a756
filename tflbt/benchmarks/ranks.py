"""Images/s of two ranks, each with a core to itself, over those of two processes that know nothing of each other.

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

import tensorflow as tf

from tflbt import init, size
from tflbt.benchmarks.side_by_side import Target, hold_against, lines_of, parser_of
from tflbt.benchmarks.sub_batches import add_depth, images, large_batch_model
from tflbt.distributed.launcher import LAUNCHER_VARIABLES, rank_by_launcher

SUB_BATCHES = 4  # of an update, on each rank
FLOOR = 0.97


class EpochEnds(tf.keras.callbacks.Callback):
    """Notes when each epoch ends."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """An epoch ends."""
        self.moments.append(time.perf_counter())


def train(options: argparse.Namespace) -> float:
    """What a process runs, on a core of its own; returns its images/s from the end of the first epoch on."""
    core = sorted(os.sched_getaffinity(0))[rank_by_launcher()]
    os.sched_setaffinity(0, {core})  # TensorFlow has not yet begun its threads
    if options.alone:
        for name in LAUNCHER_VARIABLES:
            os.environ.pop(name, None)
    else:
        init()
    batch = size() * SUB_BATCHES * options.sub_batch
    ends = EpochEnds()
    large_batch_model(options.depth).fit(
        *images(options.updates * batch), batch_size=batch, sub_batch_size=options.sub_batch,
        epochs=1 + options.epochs, verbose=0, callbacks=[ends],
    )  # fmt: skip
    seconds = ends.moments[-1] - ends.moments[0]
    return options.epochs * options.updates * SUB_BATCHES * options.sub_batch / seconds


def images_per_second(launcher: str, over: str, words: list[str]) -> float:
    """The sum over two processes that a launcher starts."""
    program = [sys.executable, "-m", "tflbt.benchmarks", "ranks", "--train", *words]
    lines = lines_of([launcher, "-np", "2", f"--{over}", *program])
    return sum(map(float, re.findall(r"images/s (\d+\.\d+)", "\n".join(lines))))


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
        print("images/s", train(options))
        return 0
    launcher = shutil.which("horovodrun")
    if launcher is None or len(os.sched_getaffinity(0)) < 2:
        missing = "horovodrun is not on PATH" if launcher is None else "there is one core"
        print(f"{missing}: nothing measured, 0 bounds met")
        return 0
    candidates = {"two processes": ("gloo", [*argv, "--alone"])}
    candidates |= {f"two ranks over {over}": (over, argv) for over in options.over}
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(options.rounds):
        for name, (over, words) in candidates.items():
            rates[name].append(images_per_second(launcher, over, words))
    (_, alone), *together = rates.items()
    for name, found in rates.items():
        print(f"{name:<52} {statistics.median(found):8.1f} images/s")
    ratios = {name: [a / b for a, b in zip(found, alone)] for name, found in together}
    return hold_against(
        *(
            Target(
                f"{name} / two processes (limit 1.0)",
                statistics.median(found),
                FLOOR,
                at_least=True,
            )
            for name, found in ratios.items()
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
