"""The command `python -m tflbt.benchmarks NAME [options]`: measurements that a user can rerun."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import tflbt.benchmarks

_NOT_BENCHMARKS = {"__main__", "bare_keras", "side_by_side"}


def names() -> list[str]:
    """The benchmarks there are: modules of this folder with a `main(argv)`."""
    found = (module.name for module in pkgutil.iter_modules(tflbt.benchmarks.__path__))
    return sorted(set(found) - _NOT_BENCHMARKS)


def main(argv: list[str]) -> int:
    """Runs the benchmark named first with the rest of the arguments; status 1 if a target is missed."""
    if not argv or argv[0] not in names():
        print(
            f"usage: python -m tflbt.benchmarks {{{','.join(names())}}} [--help]", file=sys.stderr
        )
        return 2
    return importlib.import_module(f"tflbt.benchmarks.{argv[0]}").main(argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
