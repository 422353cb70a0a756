"""A rank's program without TensorFlow: exchanges the outcomes of a test that goes another way on each of two ranks.

Arguments: the folder of the exchange, the rank, and how the two differ.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

from tests.ranks import conftest


def main(folder: str, rank: str, how: str) -> None:
    """Runs one phase of a test as the harness does."""
    conftest.GRACE, conftest.LIMIT = 1.0, 20.0
    config = SimpleNamespace(pluginmanager=SimpleNamespace(getplugin=lambda name: None))
    exchange = conftest.Exchange(Path(folder), int(rank), 2, config)
    second = rank == "1"
    exchange.begin("test_b (call)" if how == "other_tests" and second else "test_a (call)")
    if how == "fails_while_the_other_waits" and not second:
        time.sleep(60.0)  # as in a collective for which the other will not come
    outcome = "failed" if how != "other_tests" and second else "passed"
    print(exchange.outcomes((outcome, "AssertionError: 1 == 2")))


if __name__ == "__main__":
    main(*sys.argv[1:])
