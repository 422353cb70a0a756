"""The command `python -m tflbt.doctor`, really run in this environment and in a broken one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tflbt.doctor import machine
from tflbt.doctor.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tflbt.doctor", *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def statuses(report: str) -> dict[str, str]:
    lines = [line.split("  ") for line in report.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return {line[1]: line[0] for line in cells if len(line) >= 3}


@pytest.mark.ranks(2)
def test_this_environment_could_train_and_two_ranks_really_reduce() -> None:
    done = run("--ranks", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    found = statuses(done.stdout)
    assert found["TensorFlow"] == found["Keras"] == found["Horovod"] == "ok"
    assert "Gloo, MPI" in done.stdout
    assert found["All-reduce"] == "ok" and "2 ranks (gloo) agree on the sum" in done.stdout
    assert done.stdout.endswith("Training can start.\n")


def test_tensorflow_that_fails_to_import_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libbroken.so is not here')\n")
    done = run(PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert statuses(done.stdout)["TensorFlow"] == "error"
    assert "libbroken.so is not here" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.ranks(2)
def test_ranks_that_fail_are_an_error(
    monkeypatch: pytest.MonkeyPatch, quick_launcher: None
) -> None:
    monkeypatch.setattr(machine, "_ALL_REDUCE", "raise OSError('no network')")
    finding = machine.try_ranks(2, frozenset({"Gloo"}))
    assert finding.status == "error"


def test_a_slow_machine_is_no_broken_build(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0.01"]) == 1
    told = capsys.readouterr().out
    assert statuses(told)["TensorFlow"] == statuses(told)["Horovod"] == "unknown"
    assert "uninstall" not in told and "mpi/install.sh, or pip install" not in told
    assert told.endswith(
        "Not everything answered in time: whether training can start is not known.\n"
    )
    with pytest.raises(SystemExit):
        main(["--seconds", "nan"])
    assert "--seconds must be more than 0, not nan" in capsys.readouterr().err


def test_wrong_number_of_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--ranks", "0"])
    assert stop.value.code == 2
    assert "--ranks must be at least 1, not 0" in capsys.readouterr().err
