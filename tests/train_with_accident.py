"""A rank's program: runs tflbt.train, and does to it what the first argument tells: HOW:EPOCH."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


def after_rows(workdir: Path, epoch: int, act: Callable[[], None]) -> None:
    """Acts at a random moment after this start has written an epoch's row, mostly in the midst of the next."""

    def wait() -> None:
        table, start = (
            workdir / "metrics.csv",
            time.time(),
        )  # a row that is there is an earlier start's
        while not (
            table.exists()
            and table.stat().st_mtime > start
            and len(table.read_text().splitlines()) > epoch
        ):
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.1))
        act()

    threading.Thread(target=wait, daemon=True).start()


def at_epoch_begin(epoch: int, act: Callable) -> None:
    """Acts on the model when so many epochs are finished."""
    from tflbt.callbacks import NonFiniteLoss

    real = NonFiniteLoss.on_epoch_begin

    def begin(self, number, logs=None):
        real(self, number, logs)
        if number == epoch:
            act(self.model)

    NonFiniteLoss.on_epoch_begin = begin


def ancestors(pid: int) -> Iterator[int]:
    """A process, its parent, and so on."""
    while pid > 1:
        yield pid
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def launcher() -> int:
    """The process that started this rank's job, as tests/horovodrun.py says."""
    return int(os.environ["TFLBT_TEST_LAUNCHER"])


def whole_job() -> list[int]:
    """The launcher and all below it, this process last."""
    top, found = launcher(), []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may have ended
            if top in ancestors(int(entry.name)):
                found.append(int(entry.name))
    return sorted(found, key=os.getpid().__eq__)


def send(number: int, pids: Iterable[int]) -> None:
    """Sends a signal to processes, some of which may be gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_job_while_writing(epoch: int) -> None:
    """Kills the whole job when an epoch's checkpoint is written but not yet in its place."""
    from tflbt.training import checkpoint

    real = checkpoint._flush

    def flush(path):
        if f".writing_epoch_{epoch:05d}" in str(path):
            send(signal.SIGKILL, whole_job())
        real(path)

    checkpoint._flush = flush


def prepare(how: str, epoch: int, workdir: Path, rank: int) -> None:
    """Prepares the accident on the ranks that it concerns."""
    if how == "terminate_launcher" and rank == 0:
        after_rows(workdir, epoch, lambda: send(signal.SIGTERM, [launcher()]))
    if how == "kill_job_while_writing" and rank == 0:
        kill_job_while_writing(epoch)
    if (
        how == "fill_disk"
    ):  # no file may grow beyond this; metrics.csv is far from it, a checkpoint is not
        limit = (64_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        at_epoch_begin(epoch, lambda model: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    if how == "fail_on_rank_1":
        from tflbt import command_line

        command_line.PATIENCE_SECONDS = 2.0
        if rank == 1:
            sys.argv.append("--config.optimizer.name=Adan")


if __name__ == "__main__":
    accident, after = sys.argv[1].split(":")
    sys.argv = ["tflbt.train", *sys.argv[2:]]
    (place,) = (word[10:] for word in sys.argv if word.startswith("--workdir="))
    prepare(accident, int(after), Path(place), int(os.environ["HOROVOD_RANK"]))
    runpy.run_module("tflbt.train", run_name="__main__", alter_sys=True)
