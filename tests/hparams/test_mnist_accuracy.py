"""LeNet on real MNIST at batch 8,192 on two ranks keeps the accuracy of a small batch (slow: minutes)."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("TFLBT_DATA", ROOT.parent / "shared" / "data"))


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason="no MNIST; set TFLBT_DATA to its parent")
def test_two_phase_lars_reaches_99_percent(run_ranks, tmp_path: Path) -> None:
    run_ranks(
        "import runpy; runpy.run_module('tflbt.train', run_name='__main__')",
        timeout=1800,
        args=[
            f"--config={ROOT}/hparams/mnist_lenet.py:two_phase_lars",
            f"--workdir={tmp_path / 'run'}",
            f"--data_dir={DATA}",
            "--config.precision=mixed_bfloat16",
        ],
    )
    with (tmp_path / "run" / "metrics.csv").open() as file:
        *_, last = csv.DictReader(file)
    assert float(last["val_accuracy"]) >= 0.990
