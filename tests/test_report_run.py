"""`python -m tflbt.report_run` rebuilds a run's figures and page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tflbt import report_run
from tflbt.report import RunDirectory


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.metrics.append({"epoch": 1, "loss": 0.5, "learning_rate": 0.1})
    return run


def test_figures_and_page_are_made_again(run, capsys):
    assert report_run.main(["report_run", str(run.path)]) == 0
    assert str(run.report_html) in capsys.readouterr().out
    assert {path.name for path in run.figures.iterdir()} == {
        "loss.png",
        "loss.svg",
        "learning_rate.png",
        "learning_rate.svg",
    }


def test_a_directory_without_a_run_is_named_and_the_others_are_made(run, tmp_path, capsys):
    missing = tmp_path / "missing"
    assert report_run.main(["report_run", str(missing), str(run.path)]) == 1
    error = capsys.readouterr().err
    assert "metrics.csv" in error and str(missing) in error
    assert run.report_html.exists()
    assert not missing.exists()


def test_no_directory_shows_how_to_use_it(capsys):
    assert report_run.main(["report_run"]) == 2
    assert "usage: python -m tflbt.report_run DIR" in capsys.readouterr().err


def test_as_a_command_without_loading_tensorflow(run):
    """Somebody who only looks at a run should not wait for TensorFlow to load."""
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['report_run', {str(run.path)!r}]\n"
        "try: runpy.run_module('tflbt.report_run', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    root = Path(report_run.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_unknown_flags_end_with_an_error(run):
    root = Path(report_run.__file__).parents[1]
    command = [sys.executable, "-m", "tflbt.report_run", "--colour=red", str(run.path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode != 0
    assert "colour" in done.stderr + done.stdout
