"""Every benchmark runs from the command line; what it measures is not judged here: machines are noisy."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tflbt.benchmarks import batch_growth, fits, side_by_side
from tflbt.benchmarks.__main__ import main, names
from tflbt.benchmarks.side_by_side import Target, hold_against, medians

SMALLEST = {
    "adversarial": ["--samples=8", "--rounds=1", "--depth=4"],
    "augmentation": ["--rounds=1", "--images=64", "--batch_size=32"],
    "batch_augmentation": ["--rounds=1", "--images=64", "--instances=2", "--depth=4"],
    "batch_growth": ["--samples=512", "--largest=512"],
    "curvature": [
        "--batch_size=32",
        "--sub_batch=8",
        "--rounds=1",
        "--depth=4",
        "--data_dir=",
        "--measurements=1",
        "--steps=1",
    ],
    "device": [
        *("--network", "resnet4", "--policy", "float32"),
        *("--images=16", "--sub_batch=8", "--rounds=1"),
    ],
    "elastic": ["--rounds=1"],
    "fits": ["--rounds=1", "--further=1"],
    "jpeg": ["--images=4", "--rounds=1"],
    "load": ["--updates=40", "--fits=10"],
    "optimizer_memory": ["--variables=3", "--units=8"],
    "optimizers": ["--rounds=1", "--variables=3"],
    "ranks": [
        *("--rounds=1", "--updates=1"),
        *("--sub_batch=2", "--depth=4", "--over=gloo"),
    ],
    "relaunch": ["--rounds=1"],
    "start": ["--rounds=1"],
    "sub_batches": ["--rounds=1", "--images=16", "--sub_batch=8", "--depth=4"],
    "wire": ["--rounds=1", "--updates=2", "--samples=8", "--units=8"],
    "tuning": ["--trials=2", "--epochs=1", "--model=logistic_regression"],
}


@pytest.fixture
def forked_commands(run_command, quick_launcher, tmp_path: Path, monkeypatch) -> None:
    """Has the commands that benchmarks start forked from a process that has imported TensorFlow."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        words = command[1:] if command[0] == sys.executable else command
        done = run_command(words, tmp_path, PATH=os.environ["PATH"])
        done.check_returncode()
        return done

    monkeypatch.setattr(side_by_side, "subprocess", types.SimpleNamespace(run=run))


@pytest.mark.parametrize("name", names())
def test_benchmark_prints_figures_beside_targets(
    name: str, capsys: pytest.CaptureFixture[str], forked_commands: None
) -> None:
    status = main([name, *SMALLEST[name]])
    printed = capsys.readouterr().out
    assert status in (0, 1)
    assert " met" in printed or " MISSED" in printed
    assert (" MISSED" in printed) == (status == 1)


def test_what_passes_between_epochs_stands_beside_plain_keras(monkeypatch, capsys) -> None:
    monkeypatch.setattr(fits, "UPDATES", 3)
    (between,) = fits.between_epochs(epochs=2, rounds=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["plain Keras", "LargeBatchModel"]
    assert f"{between.figure:.3f} of it between them" in lines[1]


def test_growing_the_batch_traces_nothing_anew() -> None:
    epochs = batch_growth.grow(samples=512, largest=512)
    assert [epoch.batch_size for epoch in epochs] == [128, 256, 512, 512]
    assert [epoch.updates for epoch in epochs] == [4, 2, 1, 1]
    assert {epoch.traces for epoch in epochs} == {1}
    assert all(epoch.change > 0 for epoch in epochs[:2])
    traces, change, *memory = batch_growth.targets(epochs)
    assert traces.met and change.figure == max(epoch.change for epoch in epochs)
    epochs[-1].traces, epochs[-1].resident = 2, 2 * epochs[1].resident
    traces, _, *memory = batch_growth.targets(epochs)
    assert not traces.met and all(not one.met and one.figure == 2 for one in memory)


def test_unknown_benchmark_lists_those_there_are() -> None:
    command = [sys.executable, "-m", "tflbt.benchmarks", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert all(name in done.stderr for name in names())


@pytest.mark.parametrize("name", names())
def test_the_name_with_a_dot_runs_it_too(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.delitem(sys.modules, f"tflbt.benchmarks.{name}", raising=False)
    with pytest.raises(SystemExit, match="^0$"):
        runpy.run_module(f"tflbt.benchmarks.{name}", run_name="__main__")
    assert f"usage: python -m tflbt.benchmarks {name} " in capsys.readouterr().out


def test_candidates_take_turns() -> None:
    order: list[str] = []
    medians({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    assert order == ["a", "b"] * 3


def test_a_missed_target_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert hold_against(Target("fine", 1.0, 2.0), Target("slow", 0.5, 1.0, at_least=True)) == 1
    assert "MISSED" in capsys.readouterr().out
