"""Ends a job in which a rank is alive but stuck, because Horovod's own stall check never fires under Gloo."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time

# Long enough for a first compilation or a slow checkpoint, short enough that a night is not lost.
DEFAULT_LIMIT = 600.0
LIMIT_VARIABLE = "TFLBT_STALL_LIMIT"
EXIT_STATUS = 75


def configured_limit(limit: float | None = None) -> float:
    """The stall limit in seconds: the argument, or TFLBT_STALL_LIMIT, or 600; 0 means no watchdog."""
    text = limit if limit is not None else os.environ.get(LIMIT_VARIABLE, DEFAULT_LIMIT)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ValueError(
            f"stall_limit={text!r} must be a number of seconds, at least 0 (0: never)."
        )
    return seconds


class Watchdog:
    """A thread that ends this process if `beat` is not called for `limit` seconds.

    The launcher then ends the other ranks. A rank that waits for the stuck one in a collective stops beating too, so
    the job ends whichever rank is stuck; the stacks that every rank prints show which one was somewhere else.
    """

    def __init__(self, limit: float, rank: int) -> None:
        self.limit = limit
        self.rank = rank
        self._last = (time.monotonic(), "the start")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tflbt-watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        """Starts watching."""
        self.beat("the start")
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stops watching."""
        self._stop.set()

    def beat(self, where: str) -> None:
        """Notes that the rank is alive, and what it finished last."""
        self._last = (time.monotonic(), where)

    def _watch(self) -> None:
        while not self._stop.wait(min(1.0, self.limit / 4)):
            since, where = self._last
            if time.monotonic() - since > self.limit:
                self._end(where)

    def _end(self, where: str) -> None:
        print(
            f"tflbt: rank {self.rank} made no progress for {self.limit:g} s after {where}; a rank is stuck, so the "
            f"job ends. Raise the limit with {LIMIT_VARIABLE}=SECONDS (0: never) if this was slow work.",
            file=sys.stderr,
            flush=True,
        )
        # Not sys.stderr, which may have been replaced by something without a file.
        faulthandler.dump_traceback(file=2)
        os._exit(EXIT_STATUS)
