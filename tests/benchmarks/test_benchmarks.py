"""Every benchmark runs from the command line; what it measures is not judged here: machines are noisy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tflbt.benchmarks.__main__ import names
from tflbt.benchmarks.side_by_side import Target, hold_against, medians

SMALLEST = {
    "curvature": ["--batch_size=128", "--rounds=1", "--depth=8"],
    "optimizer_memory": ["--variables=8"],
    "optimizers": ["--rounds=1", "--variables=8"],
    "sub_batches": ["--rounds=1", "--images=256"],
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tflbt.benchmarks", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", names())
def test_benchmark_prints_figures_beside_targets(name: str) -> None:
    done = run(name, *SMALLEST[name])
    assert done.returncode in (0, 1), done.stderr[-2000:]
    assert " met" in done.stdout or " MISSED" in done.stdout
    assert (" MISSED" in done.stdout) == (done.returncode == 1)


def test_unknown_benchmark_lists_those_there_are() -> None:
    done = run("nothing")
    assert done.returncode == 2
    assert all(name in done.stderr for name in names())


def test_candidates_take_turns() -> None:
    order: list[str] = []
    medians({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    assert order == ["a", "b"] * 3


def test_a_missed_target_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert hold_against(Target("fine", 1.0, 2.0), Target("slow", 0.5, 1.0, at_least=True)) == 1
    assert "MISSED" in capsys.readouterr().out
