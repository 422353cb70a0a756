"""A process of an elastic job that waits for its place, and then only answers its launcher, until that ends."""

from __future__ import annotations

import time

from tflbt.distributed import elastic_worker

if __name__ == "__main__":
    elastic_worker.wait_for_place()
    elastic_worker.end_with_launcher()
    time.sleep(600)
