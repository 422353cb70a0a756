#!/usr/bin/env python
"""Horovod's launcher for tests, whose ranks are forks of it: one import of TensorFlow serves them all.

Horovod's own starts three interpreters for two ranks besides theirs, and imports TensorFlow to see whether Gloo is
built. Everything else is Horovod's: the rendezvous, the ranks' environment, their output, what ends a job. A rank has
the descriptors and the signals that a process has which begins. The tests of tflbt's own launchers, of MPI and of two
hosts start their ranks for real.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import multiprocessing
import os
import runpy
import shlex
import signal
import sys
import threading
import traceback
import types
from collections.abc import Sequence
from pathlib import Path

from horovod.runner import launch
from horovod.runner.common.util import safe_shell_exec

_middleman = safe_shell_exec._exec_middleman


def as_new(*descriptors: int) -> None:
    """Leaves this fork the descriptors that it needs, and handles signals as a process does that begins."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in (0, 1, 2, *descriptors):
            with contextlib.suppress(OSError):  # that of the listing
                os.close(int(name))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(words: Sequence[str]) -> None:
    """Runs what `python WORDS` would, without TensorFlow's notes of where each operation was made, for its errors."""
    from tensorflow.python.util import tf_stack

    somewhere = tf_stack.extract_stack()
    tf_stack.extract_stack = lambda stacklevel=1: somewhere
    if words[0] == "-m":
        sys.path[0] = os.getcwd()
        sys.argv = list(words[1:])
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(words[0]).resolve().parent)
        sys.argv = list(words)
        runpy.run_path(words[0], run_name="__main__")


def finish(words: Sequence[str]) -> None:
    """Runs what `python WORDS` would, and ends this process as it would end."""
    status = 0
    try:
        run(words)
    except SystemExit as end:
        status = end.code
        if status is not None and not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:  # as an interpreter does
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit((status or 0) & 0xFF)


class Shell:
    """In the place of the shell that runs a rank's command: a fork of this process, whose fork is the rank.

    Horovod sends the shell's children SIGTERM, waits, stops the shell and kills them all.
    """

    def __init__(self, command: str, env: dict[str, str] | None, stdout, stderr, **_) -> None:
        """Starts the rank; what is not Python's is executed."""
        self.pid = os.fork()
        if self.pid:
            return
        if rank := os.fork():
            as_new()
            status = os.waitstatus_to_exitcode(os.waitpid(rank, 0)[1])
            os._exit(status if status >= 0 else 128 - status)
        os.environ.update(env or {})
        words = shlex.split(command)[1:]  # without `env`
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            os.environ[name] = value
        for number, stream in ((1, stdout), (2, stderr)):
            os.dup2(stream.fileno(), number)
        as_new()
        if os.path.realpath(words[0]) != os.path.realpath(sys.executable):
            os.execvp(words[0], words)
        finish(words[1:])

    def wait(self) -> int:
        """Returns the status, negative if a signal has ended the shell."""
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # the thread that ends ranks has waited for it
            return -signal.SIGTERM


def middleman(command, env, exit_event, stdout, stderr, rw) -> None:
    """Horovod's process between the launcher and a rank."""
    as_new(*(connection.fileno() for pair in (stdout, stderr, rw) for connection in pair))
    _middleman(command, env, exit_event, stdout, stderr, rw)


def main() -> None:
    """Imports what the ranks will need, and launches them as Horovod does."""
    if "--mpi" not in sys.argv:
        # Nothing is computed before the forks, which TensorFlow would not survive.
        for name in ("horovod.tensorflow.keras", "tflbt.callbacks", "tflbt.recipes"):
            importlib.import_module(name)
    gc.freeze()  # else a rank, which collects garbage, would copy all of the memory
    os.environ["TFLBT_TEST_LAUNCHER"] = str(os.getpid())
    safe_shell_exec._exec_middleman = middleman
    safe_shell_exec.subprocess = types.SimpleNamespace(Popen=Shell)
    forks = multiprocessing.get_context("fork")
    safe_shell_exec.multiprocessing = types.SimpleNamespace(get_context=lambda method: forks)
    launch.gloo_built = lambda verbose=False: True  # if it is not, the ranks cannot start
    launch.run_commandline()


if __name__ == "__main__":
    main()
