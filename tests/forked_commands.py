"""Runs Python commands in processes forked from one that has imported TensorFlow and tflbt: each costs a fork.

Every line of the input is a command in JSON: its words as after `python`, folder, environment, files for its output and
errors (which may be the same) and the seconds after which it is killed. The answer is a line with its exit status.
Nothing is computed before the fork, which TensorFlow would not survive.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys

import horovod.tensorflow.keras  # noqa: F401  so that the children need not import them
import sklearn.datasets  # noqa: F401
import sklearn.model_selection  # noqa: F401

import tflbt.callbacks  # noqa: F401
import tflbt.recipes  # noqa: F401
import tflbt.tuning  # noqa: F401
from tests.horovodrun import run


def next_command() -> dict | None:
    """Returns the next command, in a process of its own; None at the end of the input."""
    for line in sys.stdin:
        command = json.loads(line)
        seconds = command.pop("seconds")
        child = os.fork()
        if not child:
            return command
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        signal.alarm(seconds)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        signal.alarm(0)
        print(status, flush=True)
    return None


def become(words: list[str], folder: str, env: dict[str, str], out: str, err: str) -> None:
    """Makes this process the command's, and runs it."""
    os.chdir(folder)
    os.environ.update(env)
    for number, path, mode in ((0, os.devnull, "r"), (1, out, "a"), (2, err, "a")):
        with open(path, mode) as file:
            os.dup2(file.fileno(), number)
    run(words)


if __name__ == "__main__":
    gc.freeze()  # else a child, which collects garbage at its end, would copy all of the memory
    if command := next_command():
        become(**command)
