"""launch/gpu_check.sh with the processor in the place of a GPU: its steps, its report, its status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def check(folder: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], str]:
    report = folder / "report.md"
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(ROOT / "launch" / "gpu_check.sh"), "--report", str(report), *options],
        env=environment, cwd=folder, text=True, capture_output=True, timeout=900,
    )  # fmt: skip
    return done, report.read_text() if report.exists() else ""


def test_its_steps_stand_in_the_report(tmp_path: Path) -> None:
    done, report = check(tmp_path, "--cpu", "--only", "tests,device,table_2")
    assert done.returncode == 0, report
    assert "the processor in the place of a GPU" in report
    assert "tests: passed" in report and "5 passed, 1 skipped" in report
    assert "resnet4, float32, large" in report and " images/s" in report
    assert "reads of a further update" in report
    assert "Not run: no --data." in report
    assert report.rstrip().endswith("no step failed.")


@pytest.mark.slow
def test_all_of_it(tmp_path: Path) -> None:
    done, report = check(tmp_path, "--cpu", "--minutes", "30")
    assert done.returncode == 0, report
    for name in ("doctor", "tests", "device", "sub_batches", "optimizers", "curvature"):
        assert f"## {name}\n" in report
        assert f"\n{name}: " in report


def test_wrong_words(tmp_path: Path) -> None:
    assert "no step 'nothing'" in check(tmp_path, "--only", "nothing")[0].stderr
    assert "unknown option '--gpu'" in check(tmp_path, "--gpu")[0].stderr
    assert "--minutes must be a whole number" in check(tmp_path, "--minutes", "none")[0].stderr
