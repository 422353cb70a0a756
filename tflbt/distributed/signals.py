"""Signals that announce the end of a job: the first asks for an orderly end, a later one ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

from absl import logging

# What Slurm, Kubernetes and spot instances send (Slurm by choice: --signal).
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
# A launcher and the batch system hand the same signal on; what comes within so many seconds is the first again.
ECHO_SECONDS = 5.0


class Notice:
    """Whether a signal has announced the end."""

    def __init__(self) -> None:
        self._first: float | None = None

    @property
    def received(self) -> bool:
        """True from the first signal on."""
        return self._first is not None

    def take(self, number: int) -> None:
        """Takes a signal; a second one ends the process with the status of a process that it killed."""
        now = time.monotonic()
        if self._first is None:
            self._first = now
            text = (
                f"tflbt: signal {number}: ends after this update (a second signal ends at once)\n"
            )
            os.write(2, text.encode())
        elif now - self._first > ECHO_SECONDS:
            os._exit(128 + number)


@contextlib.contextmanager
def listening() -> Iterator[Notice]:
    """Notes the signals of `SIGNALS` in the body, in a process's main thread; elsewhere a warning says that it cannot.

    Python runs handlers between two of its own steps, and an update is one step, in which a rank may wait for another
    for ever. So a thread reads the signals' numbers from a pipe, into which they are written as they come.
    """
    notice = Notice()
    if threading.current_thread() is not threading.main_thread():
        logging.warning(
            "fit runs in a thread, where Python cannot receive signals: SIGTERM ends the process without a checkpoint "
            "of the running epoch."
        )
        yield notice
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def read() -> None:
        with open(reading, "rb", buffering=0) as numbers:
            for number in iter(lambda: numbers.read(1), b""):
                if number[0] in SIGNALS:
                    notice.take(number[0])

    threading.Thread(target=read, name="tflbt-signals", daemon=True).start()
    before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    for number in SIGNALS:
        signal.siginterrupt(number, False)  # system calls of Horovod's threads go on
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield notice
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)
