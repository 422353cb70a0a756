"""A program: takes trials from a server, whose address and key it reads from its input, and prints their numbers."""

from __future__ import annotations

import json
import sys

from tflbt.tuning.trial import Outcome
from tflbt.tuning.trial_server import _reach


def main() -> None:
    """Begins at the second line of its input."""
    address, key = json.loads(sys.stdin.readline())
    server = _reach(tuple(address), bytes.fromhex(key))
    print("ready", flush=True)
    sys.stdin.readline()
    while not isinstance(trial := server.next(), str):
        print(trial.number, flush=True)
        server.end(trial.number, Outcome("completed", (0.5,)))
    print(trial, flush=True)


if __name__ == "__main__":
    main()
