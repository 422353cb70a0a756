"""The demonstration does what the README's first line promises."""

from __future__ import annotations

import csv
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.ranks(2)
def test_demo_trains_digits_and_leaves_a_report(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "launch" / "demo.sh")],
        env={**os.environ, "TFLBT_RUNS": str(tmp_path)},
        cwd=tmp_path,
        text=True,
        timeout=400,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    (run,) = tmp_path.iterdir()
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["val_accuracy"]) > 0.97
    assert {row["phase"] for row in rows} == {"exploration", "convergence"}
    assert (run / "report.html").stat().st_size > 10_000
    assert (run / "checkpoints" / "epoch_00060").is_dir()
    assert str(run) in done.stdout
