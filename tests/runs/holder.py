"""A program: holds the lock of the directory that its argument names until it is killed or its input ends."""

from __future__ import annotations

import sys

from tflbt.runs.directory_lock import hold

if __name__ == "__main__":
    lock = hold(sys.argv[1])
    print("held", flush=True)
    sys.stdin.read()
