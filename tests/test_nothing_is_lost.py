"""Train, resume, tune and report below any folder's name; a resumption, or a winner's weights, that lose nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tflbt.train
import tflbt.tune
from tflbt import recipes, report_run
from tflbt.training.checkpoint import read_weights

SPACE = Path(__file__).resolve().parents[1] / "hparams" / "spaces" / "default.py"
ODD = "~ a:b [1] {epoch}?*'$x"


@pytest.fixture(scope="module")
def config():
    """A recipe that trains in a moment."""
    config = recipes.default_config()
    with config.unlocked():
        config.model = {"name": "logistic_regression"}
    config.update({"epochs": 3, "batch_size": 500, "name": "odd: $names$ {of} a <run>"})
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory, config):
    """A run of three epochs below an odd name."""
    folder = tmp_path_factory.mktemp("runs") / ODD / "run[1]"
    tflbt.train.train(config, folder)
    return folder


def test_a_run_goes_on_below_an_odd_name(run, config):
    table = (run / "metrics.csv").read_text().splitlines()
    last = run / "checkpoints" / "epoch_00003"
    weights = read_weights(last)
    shutil.rmtree(last)
    assert tflbt.train.train(config, run, resume=True).epoch == [2]
    for before, after in zip(weights, read_weights(last), strict=True):
        np.testing.assert_array_equal(after, before)
    assert (run / "metrics.csv").read_text().splitlines()[:3] == table[:3]
    (run / "report.html").unlink()
    assert report_run.main(["report_run", str(run)]) == 0
    assert (run / "report.html").stat().st_size > 10_000
    assert sorted(path.name for path in run.parents[1].iterdir()) == [ODD]


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "a file"])
def test_epochs_without_their_checkpoints_are_not_thrown_away(run, config, tmp_path, left):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checkpoints")
    if left == "an empty folder":
        (copy / "checkpoints").mkdir()
    elif left == "a file":
        (copy / "checkpoints").touch()
    table = (copy / "metrics.csv").read_bytes()
    with pytest.raises(
        ValueError, match=r"metrics.csv has 3 epoch\(s\), but .* no checkpoint"
    ) as e:
        tflbt.train.train(config, copy, resume=True)
    assert "\n" not in str(e.value) and (copy / "metrics.csv").read_bytes() == table


def test_a_search_keeps_the_best_epochs_weights_below_an_odd_name(config, tmp_path, capsys):
    """The best is what has the largest loss, so that its first epoch wins."""
    search = tmp_path / ODD / "search[2]"
    settings = config.copy_and_resolve_references()
    settings.epochs, settings.directions = 4, ("val_loss:max",)
    options = {"max_trials": 1, "objective": "val_loss", "baseline": False}
    best = tflbt.tune.tune(settings, str(SPACE), search, **options)
    assert (best.best_epoch, best.killed) == (1, ())
    there = {path.name for path in search.glob("trials/*/checkpoints/epoch_*")}
    assert there == {"epoch_00001", "epoch_00003", "epoch_00004"}
    assert best.checkpoint == search / "trials" / "0001" / "checkpoints" / "epoch_00001"
    last = read_weights(best.checkpoint.with_name("epoch_00004"))
    assert any((a != b).any() for a, b in zip(read_weights(best.checkpoint), last, strict=True))
    assert "train it: python -m tflbt.train --config='" in capsys.readouterr().out
    won = recipes.load(str(search / "best.json"))
    assert won.optimizer.learning_rate == best.values["optimizer.learning_rate"]
    about = json.loads((search / "search.json").read_text())
    for key in ("directions", "margin"):  # as in a search of a version that did not know them
        del about["config"][key]
    (search / "search.json").write_text(json.dumps(about))
    settings.margin.every = 1
    with pytest.raises(ValueError, match=r"config.margin.every was \(not set\), is now 1"):
        tflbt.tune.tune(settings, str(SPACE), search, resume=True, **options)
    settings.margin.every = 0
    again = tflbt.tune.tune(settings, str(SPACE), search, resume=True, **options)
    assert (again.number, again.checkpoint) == (best.number, best.checkpoint)
