"""A program: beats its watchdog for two seconds and then does something else."""

from __future__ import annotations

import time

from tflbt.distributed.watchdog import Watchdog


def elsewhere() -> None:
    """Never comes back, as far as a watchdog can tell."""
    time.sleep(600)


if __name__ == "__main__":
    with Watchdog(limit=1.0, rank=3) as dog:
        for update in range(4):
            time.sleep(0.5)  # two seconds of beats: alive
            dog.beat(f"update {update}")
        print("alive", flush=True)
        elsewhere()
