"""Images/s of two ranks, each with a core to itself, over those of two processes that know nothing of each other.

Ranks wait for one another in every update: beside the ratios stand what the two processes would do if they did, and how
a rank's threads share its core. The jobs take turns of an epoch each, while the others are stopped.

python -m tflbt.benchmarks ranks [--rounds N] [--updates N] [--sub_batch N] [--depth N] [--over gloo mpi]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tensorflow as tf

from tflbt import init, size
from tflbt.benchmarks.side_by_side import Target, buffered, hold_against, parser_of, take_core
from tflbt.benchmarks.sub_batches import add_depth, images, large_batch_model
from tflbt.benchmarks.wire import UpdateTimes
from tflbt.distributed.launcher import LAUNCHER_VARIABLES, rank_by_launcher

SUB_BATCHES = 4  # of an update, on each rank
FLOOR = 0.97
RANKS = range(2)
ALONE = "two processes"


class Turns(tf.keras.callbacks.Callback):
    """Stops this process before every epoch; the benchmark has it go on."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Its turn is over."""
        os.kill(os.getpid(), signal.SIGSTOP)


class CoreUse(tf.keras.callbacks.Callback):
    """Counts the seconds of epochs after the first: by the clock, of all threads, and of those named."""

    def __init__(self, threads: set[int]) -> None:
        super().__init__()
        self._threads = threads
        self._begin = self.seconds = np.zeros(3)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes where the seconds stand."""
        self._begin = self._now()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the epoch's."""
        if epoch:
            self.seconds = self.seconds + self._now() - self._begin

    def _now(self) -> np.ndarray:
        used = {each.id: each.user_time + each.system_time for each in psutil.Process().threads()}
        named = sum(used.get(thread, 0.0) for thread in self._threads)
        return np.array([time.perf_counter(), sum(used.values()), named])


def train(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """What a process runs, on a core of its own.

    Returns the seconds of updates after the first epoch, a row for each (its first update does not count), and the
    shares of the core that all threads use, and those that Horovod began.
    """
    rank = rank_by_launcher()
    take_core(rank)
    if options.alone:
        for name in LAUNCHER_VARIABLES:
            os.environ.pop(name, None)
    before = {each.id for each in psutil.Process().threads()}
    if not options.alone:
        init()
    use = CoreUse({each.id for each in psutil.Process().threads()} - before)
    batch = size() * SUB_BATCHES * options.sub_batch
    times = UpdateTimes()
    # Renamed, so that nobody reads half a number.
    written = Path(options.turns, f"{rank}.new")
    written.write_text(str(os.getpid()))
    written.rename(written.with_name(str(rank)))
    large_batch_model(options.depth).fit(
        *images((1 + options.updates) * batch), batch_size=batch, sub_batch_size=options.sub_batch,
        epochs=1 + options.rounds, verbose=0, callbacks=[times, Turns(), use], stall_limit=0,
    )  # fmt: skip
    clock, *threads = use.seconds
    return np.reshape(times.seconds, [-1, options.updates])[1:], np.array(threads) / clock


class Job:
    """Two processes that a launcher has started, which stop before every epoch.

    Args:
        words: The launcher, its options, and what the processes train.
        folder: An empty one of its own, where they leave the numbers of their processes.
    """

    def __init__(self, words: list[str], folder: Path) -> None:
        self._job = subprocess.Popen(
            [*words, "--train", f"--turns={folder}"],
            stdout=subprocess.PIPE,
            env=buffered(),
            text=True,
        )
        self._folder = folder

    def take_turn(self) -> None:
        """Has the processes go on, until they have both stopped again or ended."""
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)
        self.wait()

    def wait(self) -> None:
        """Returns when all processes have stopped, or the job has ended; raises CalledProcessError if it has failed."""
        while (status := self._job.poll()) is None:
            pids = self._pids()
            if len(pids) == len(RANKS) and all(_stopped(pid) for pid in pids):
                return
            time.sleep(0.01)
        if status:
            raise subprocess.CalledProcessError(status, self._job.args)

    def results(self) -> tuple[np.ndarray, np.ndarray]:
        """What `train` returned, of each process."""
        lines, _ = self._job.communicate()
        rows = re.findall(r"seconds ([\d. ;]+); of its core ([\d. ]+)", lines)
        seconds = [[each.split() for each in row.split(";")] for row, _ in rows]
        return np.array(seconds, float), np.array([core.split() for _, core in rows], float)

    def end(self) -> None:
        """Ends the job, if it has not ended."""
        if self._job.poll() is not None:
            return
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._job.kill()

    def _pids(self) -> list[int]:
        """The processes that have told their number."""
        files = [self._folder / str(rank) for rank in RANKS]
        return [int(file.read_text()) for file in files if file.exists()]


def _stopped(pid: int) -> bool:
    """Whether a process is stopped."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    return False


def results_in_turns(
    launcher: str, argv: list[str], options: argparse.Namespace
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What `train` returned in each job, of each of its processes."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

        def start(name: str, over: str, *words: str) -> Job:
            turns = Path(folder, name)
            turns.mkdir()
            program = [sys.executable, "-m", "tflbt.benchmarks", "ranks", *argv, *words]
            job = Job([launcher, "-np", str(len(RANKS)), f"--{over}", *program], turns)
            stack.callback(job.end)
            return job

        jobs = {ALONE: start("alone", "gloo", "--alone")}
        jobs |= {f"two ranks over {over}": start(over, over) for over in options.over}
        for job in jobs.values():
            job.wait()
        for _ in range(1 + options.rounds):
            for job in jobs.values():
                job.take_turn()
        return {name: job.results() for name, job in jobs.items()}


def images_per_second(seconds: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """Of each round, the sum over processes."""
    return (SUB_BATCHES * options.sub_batch / seconds.mean(2)).sum(0)


def main(argv: list[str]) -> int:
    """Prints images/s, and the ratios beside their floor."""
    parser = parser_of("ranks", __doc__)
    parser.add_argument("--rounds", type=int, default=8, help="turns that count (default 8)")
    parser.add_argument(
        "--updates", type=int, default=4, help="of a turn that count: all but its first (default 4)"
    )
    parser.add_argument("--sub_batch", type=int, default=64, help="its images (default 64)")
    add_depth(parser)
    parser.add_argument("--over", nargs="+", choices=("gloo", "mpi"), default=["gloo", "mpi"])
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--turns", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.train:
        turns, core = train(options)
        rounds = (" ".join(f"{taken:.5f}" for taken in turn) for turn in turns)
        print(
            f"seconds {';'.join(rounds)}; of its core {' '.join(f'{share:.3f}' for share in core)}"
        )
        return 0
    launcher = shutil.which("horovodrun")
    if launcher is None or len(os.sched_getaffinity(0)) < len(RANKS):
        missing = "horovodrun is not on PATH" if launcher is None else "there is one core"
        print(f"{missing}: nothing measured, 0 bounds met")
        return 0
    results = results_in_turns(launcher, argv, options)
    seconds = {name: found for name, (found, _) in results.items()}
    alone = seconds[ALONE]
    slower = np.broadcast_to(alone.max(0), alone.shape)
    waiting = images_per_second(slower, options) / images_per_second(alone, options)
    for name, found in seconds.items():
        rate = statistics.median(images_per_second(found, options))
        used, of_horovod = results[name][1].mean(0)
        print(
            f"{name:<24} {rate:8.1f} images/s; of a core: computing {used - of_horovod:.3f}, Horovod's threads "
            f"{of_horovod:.3f}, waiting {1 - used:.3f}"
        )
    print(f"{ALONE}, had each waited for the slower one in every update: {np.median(waiting):.3f}")
    return hold_against(
        *(
            Target(
                f"{name} / {ALONE}",
                float(
                    np.median(images_per_second(found, options) / images_per_second(alone, options))
                ),
                FLOOR,
                at_least=True,
            )
            for name, found in seconds.items()
            if name != ALONE
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
