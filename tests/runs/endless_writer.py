"""A program: appends rows to the table that its argument names until it is killed; says when the first is there."""

from __future__ import annotations

import sys

from tflbt.runs.metrics import MetricsTable

if __name__ == "__main__":
    table = MetricsTable(sys.argv[1])
    for epoch in range(1, 100_000):
        table.append({"epoch": epoch, "loss": 1 / epoch, "phase": "x" * 2000})
        if epoch == 1:
            print("on", flush=True)
