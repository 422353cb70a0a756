"""Whether a process works: the processor time of its threads, and where in a program its main thread is (Linux)."""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Collection
from pathlib import Path
from types import FrameType

# Less than this is idle: the share of a window in which threads ran, and in which they ran or waited for a core.
RAN, WANTED = 0.02, 0.2
_STDLIB = sysconfig.get_paths()["stdlib"]
_PACKAGES = f"{os.sep}site-packages{os.sep}"
_WAITING = tuple(f"{_PACKAGES}{name}{os.sep}" for name in ("tensorflow", "horovod"))


def thread_ids(pid: int | str = "self") -> set[int]:
    """The numbers of a process's threads; empty where there is no such process, or no /proc."""
    try:
        return {int(name) for name in os.listdir(f"/proc/{pid}/task")}
    except OSError:
        return set()


def usage(pid: int | str = "self", hidden: Collection[int] = ()) -> tuple[float, float, int]:
    """Seconds that a process's threads ran, that they ran or waited for a core, and how many wait for a disk now."""
    ran = wanted = 0.0
    on_disk = 0
    for thread in thread_ids(pid) - set(hidden):
        folder = f"/proc/{pid}/task/{thread}/"
        try:
            running, waiting = map(int, Path(folder + "schedstat").read_text().split()[:2])
            state = Path(folder + "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            continue  # it has ended
        ran += running / 1e9
        wanted += (running + waiting) / 1e9
        on_disk += state == "D"
    return ran, wanted, on_disk


def is_stopped(pid: int) -> bool:
    """Whether a process has been stopped, as by SIGSTOP."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False


def family(pid: int) -> list[int]:
    """A process and all that it has started, as far as they run."""
    found = [pid]
    for parent in found:  # which grows
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
            found += map(int, children.split())
    return found


def pollers(seconds: float = 0.3) -> set[int]:
    """This process's threads, other than Python's own, that wake up again and again while nothing is asked of them.

    Horovod's and MPI's are like that; to be called while TensorFlow has nothing to do.
    """
    own = {thread.native_id for thread in threading.enumerate()}
    before = {thread: _times_run(thread) for thread in thread_ids() - own}
    time.sleep(seconds)
    return {thread for thread, count in before.items() if _times_run(thread) - count >= 5}


def _times_run(thread: int) -> int:
    try:
        return int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[2])
    except (OSError, ValueError):
        return 0


class Activity:
    """For how long a process has been idle, by samples of its threads' use of the processor.

    Args:
        pid: The process; default this one.
        hidden: Threads that do not count: those that run while the process only waits for others.
    """

    def __init__(self, pid: int | str = "self", hidden: Collection[int] = ()) -> None:
        self.pid = pid
        self.hidden = set(hidden)
        self._samples: collections.deque[tuple[float, float, float]] = collections.deque(maxlen=700)

    def restart(self) -> None:
        """Notes that the process is known to work."""
        self._samples.clear()

    def sample(self) -> float:
        """Looks at the process, and returns for how many seconds it has been idle."""
        now = time.monotonic()
        ran, wanted, on_disk = usage(self.pid, self.hidden)
        if on_disk:
            self.restart()
        self._samples.append((now, ran, wanted))
        return idle_seconds(self._samples)


def idle_seconds(samples: Collection[tuple[float, float, float]]) -> float:
    """The longest time up to the last sample over which the process was idle.

    Args:
        samples: For each moment: the moment, seconds run until then, seconds run or waited for a core until then.

    Example:
        >>> idle_seconds([(0, 0, 0), (10, 9, 9), (20, 9.01, 9.02), (30, 9.02, 9.03)])
        20
    """
    *_, (now, ran, wanted) = samples
    for moment, ran_then, wanted_then in samples:
        length = now - moment
        if ran - ran_then <= RAN * length and wanted - wanted_then <= WANTED * length:
            return length
    return 0.0


def whereabouts() -> str:
    """Where the program is, such as "save (train.py:41)"; empty if it waits inside TensorFlow or Horovod.

    A Python function that TensorFlow has called, such as a data set's generator, comes before the main thread, which
    waits for it.
    """
    frames = sys._current_frames()
    threads = {thread.ident for thread in threading.enumerate()}
    called = [frame for ident, frame in frames.items() if ident not in threads]
    for frame in [*called, frames.get(threading.main_thread().ident or 0)]:
        place = _place(frame)
        if place:
            return place
    return ""


def _place(frame: FrameType | None) -> str:
    """The innermost function outside of the standard library; empty if that is TensorFlow's or Horovod's."""
    while frame is not None:
        path = frame.f_code.co_filename
        name = frame.f_code.co_name
        if any(part in path for part in _WAITING) or name.startswith(
            "horovod_"
        ):  # made by TensorFlow
            return ""
        if _PACKAGES in path or not path.startswith((_STDLIB, "<frozen")):
            return f"{name} ({os.path.basename(path)}:{frame.f_lineno})"
        frame = frame.f_back
    return ""
