"""`python -m tflbt.report_run` rebuilds a run's figures and page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import rank_environment
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


@pytest.fixture
def trained(tmp_path):
    """Makes a run directory as tflbt.train leaves it, of 30 epochs over 600 samples."""

    def make(name, batch_size, accuracy, optimizer="SGD", rate=None):
        rate = 0.001 * batch_size if rate is None else rate
        config = {
            "epochs": 30,
            "batch_size": batch_size,
            "optimizer": {"name": optimizer, "learning_rate": rate},
            "data": {"name": "mnist"},
            "model": {"name": "lenet"},
        }
        run = RunDirectory.create(tmp_path / name, config)
        for epoch in (29, 30):
            row = {"epoch": epoch, "samples": 600 * epoch, "loss": 0.1}
            run.metrics.append({**row, "val_loss": 0.1, "val_accuracy": accuracy})
        return run

    return make


def test_a_baseline_adds_the_regime_to_terminal_and_page(trained, capsys):
    baseline, run = trained("small", 10, 0.9922), trained("lars", 80, 0.9927, "LARS", 1.0)
    linear = trained("linear", 40, 0.9)
    words = ["report_run", str(run.path)]
    assert report_run.main(words, baseline.path, [linear.path]) == 0
    line = (
        "batch 80 is large: 0.9927 is at least 99.5% of the baseline's 0.9922 (batch 10) in as many epochs; "
        "linear scaling alone fails at batch 40"
    )
    assert capsys.readouterr().out.splitlines() == [str(run.report_html), line]
    page = run.report_html.read_text()
    assert "<p>Batch 80 is large: 0.9927 is at least 99.5% of the baseline&#x27;s" in page
    assert report_run.main(words) == 0
    assert " is large" not in run.report_html.read_text() + capsys.readouterr().out


def test_directories_named_together_tell_of_each_other(trained, capsys):
    baseline, run = trained("small", 10, 0.9922), trained("lars", 80, 0.9927, "LARS", 1.0)
    linear = trained("linear", 40, 0.9)
    assert report_run.main(["report_run", str(run.path), str(linear.path)], baseline.path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("batch 80 is large: ") and lines[3].startswith("batch 40 is large: ")


def test_a_baseline_that_cannot_be_compared_is_told_and_nothing_is_written(run, trained, capsys):
    assert report_run.main(["report_run", str(run.path)], trained("small", 10, 0.99).path) == 1
    error = capsys.readouterr().err
    assert "no config.json" in error and str(run.path) in error
    assert not run.report_html.exists()


def test_runs_without_a_baseline_show_how_to_use_it(run, capsys):
    assert report_run.main(["report_run", str(run.path)], None, [str(run.path)]) == 2
    assert "--baseline" in capsys.readouterr().err


def test_the_flags_of_the_command(trained):
    baseline, run = trained("small", 10, 0.9922), trained("full", 600, 0.9, "LARS", 1.0)
    root = Path(report_run.__file__).parents[1]
    flags = [f"--baseline={baseline.path}", f"--runs={run.path},{baseline.path}"]
    command = [sys.executable, "-m", "tflbt.report_run", str(run.path), *flags]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "batch 600 is full: its run, 0.9, is less than 0.98724, 99.5% of" in done.stdout


def test_times_of_runs_side_by_side(trained, tmp_path, capsys):
    slow, fast = trained("slow", 10, 0.99), trained("fast", 80, 0.99)
    for run, seconds in ((slow, 30.0), (fast, 6.0)):
        run.metrics.append({"epoch": 31, "seconds": seconds, "seconds_computation": seconds / 2})
    folder = tmp_path / "times"
    words = ["report_run", str(slow.path), str(fast.path)]
    assert report_run.main(words, times=str(folder)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[3:5]] == [
        ["slow", "15.0", "15.0", "30.0", "1.00x"],
        ["fast", "3.0", "3.0", "6.0", "5.00x"],
    ]
    assert lines[5] == str(folder / "time_account.png")
    assert {path.name for path in folder.iterdir()} == {"time_account.png", "time_account.svg"}


def test_a_run_without_times_is_named(run, tmp_path, capsys):
    assert report_run.main(["report_run", str(run.path)], times=str(tmp_path / "times")) == 1
    assert "run: its metrics.csv has no times" in capsys.readouterr().err


def test_as_a_command_without_loading_tensorflow(run):
    """Somebody who only looks at a run should not wait for TensorFlow to load."""
    program = Path(__file__).with_name("without_tensorflow.py")
    command = [sys.executable, program, "tflbt.report_run", run.path]
    done = subprocess.run(command, env=rank_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_unknown_flags_end_with_an_error(run):
    root = Path(report_run.__file__).parents[1]
    command = [sys.executable, "-m", "tflbt.report_run", "--colour=red", str(run.path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode != 0
    assert "colour" in done.stderr + done.stdout


@pytest.fixture
def search(tmp_path):
    """A search directory with one trial."""
    folder = tmp_path / "search"
    folder.mkdir()
    (folder / "search.json").write_text('{"objective": "val_accuracy", "direction": "max"}')
    (folder / "trials.csv").write_text("trial,status,objective,seed\n1,completed,0.9725,3\n")
    return folder


def test_a_search_gets_the_page_of_its_trials(search, run, capsys):
    assert report_run.main(["report_run", str(search), str(run.path)]) == 0
    pages = [str(search / "report.html"), str(run.report_html)]
    assert capsys.readouterr().out.splitlines() == pages
    assert "97.25%" in (search / "report.html").read_text()


def test_a_damaged_search_is_named_and_the_others_are_made(search, run, capsys):
    (search / "trials.csv").write_text("trial,status,objective\n1,lost,0.5\n")
    assert report_run.main(["report_run", str(search), str(run.path)]) == 1
    assert "trials.csv, line 2: status='lost'" in capsys.readouterr().err
    assert run.report_html.exists() and not (search / "report.html").exists()


def test_a_search_beside_runs_tells_nothing_of_their_regime(search, trained, capsys):
    baseline, run = trained("small", 10, 0.9922), trained("lars", 80, 0.9927, "LARS", 1.0)
    assert report_run.main(["report_run", str(search), str(run.path)], baseline.path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [str(search / "report.html"), str(run.report_html)]
    assert lines[2].startswith("batch 80 is ")


@pytest.mark.parametrize("value", ["inf", "-1", "0", "$\\frac{$", "<script>"])
def test_a_table_of_anything_makes_a_page_or_one_line(value, tmp_path, capsys):
    """Columns that the tiles and figures compute with hold what no run writes."""
    columns = ("epoch", "loss", "learning_rate", "batch_size", "seconds", "val_accuracy", "decays")
    rows = [columns, ("1", *["1"] * 6), ("2", *[value] * 6)]
    (tmp_path / "metrics.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    status = report_run.main(["report_run", str(tmp_path)])
    lines = capsys.readouterr().err.splitlines()
    assert (status, len(lines)) in ((0, 0), (1, 1))
    assert status or "<script" not in (tmp_path / "report.html").read_text()
