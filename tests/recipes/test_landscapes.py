"""Landscapes of real runs: their corners are the runs' own losses; the command writes numbers and figures."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tflbt import recipes
from tflbt.landscape import __main__ as command
from tflbt.recipes import build, landscapes
from tflbt.recipes.landscapes import Grid, RunsOnSamples
from tflbt.recipes.run import claim


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two short runs from the same weights, at two batch sizes, and one that begins elsewhere."""
    made = []
    for name, batch_size in (("large", 512), ("small", 256)):
        config = recipes.start(name, "v", ("v",))
        config.update({"epochs": 2, "batch_size": batch_size})
        with config.unlocked():
            config.model = {"name": "logistic_regression"}
        config.checkpoint.update({"initial": True, "keep_epochs": (1,)})
        recipe = build.build(config)
        folder = tmp_path_factory.mktemp("runs") / name
        recipe.fit(directory=claim(folder, config, False), verbose=0)
        made.append(str(folder))
    other = tmp_path_factory.mktemp("runs") / "other"
    shutil.copytree(folder, other)
    shutil.rmtree(other / "checkpoints" / "epoch_00000")
    (other / "checkpoints" / "epoch_00001").rename(other / "checkpoints" / "epoch_00000")
    return [*made, str(other)]


def evaluated(networks, weights):
    networks.model.set_weights(weights)
    return networks.model.evaluate(*networks.data, verbose=0, batch_size=200)


def test_corners_are_the_runs_own_losses(runs):
    networks = RunsOnSamples(runs[:2], samples=200)
    large, small = networks.runs
    found = networks.between(Grid(3, 0.0, 1.0))
    assert found.shape == (3, 3)
    for place, run, epoch in (((0, 0), large, 0), ((2, 0), large, None), ((0, 2), small, None)):
        wanted = evaluated(networks, networks.weights(run, epoch))
        assert found[place] == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_allclose(networks.between(Grid(2, 0.0, 1.0), "interpolate"), found[::2, ::2])
    around = networks.around(Grid(3, -1.0, 1.0))
    assert around[1, 1] == pytest.approx(found[2, 0], rel=1e-5) and np.isfinite(around).all()


def test_what_does_not_fit_together_is_named(runs):
    with pytest.raises(ValueError, match="do not begin at the same weights"):
        RunsOnSamples([runs[0], runs[2]], samples=10).between(Grid(2))
    networks = RunsOnSamples(runs[:1], samples=10)
    with pytest.raises(FileNotFoundError, match="no checkpoint of this epoch.*epoch_00007"):
        networks.cuts([7], np.zeros(1))
    with pytest.raises(FileNotFoundError, match="no run of tflbt.train"):
        RunsOnSamples(["nowhere"])
    with pytest.raises(ValueError, match="^points=1"):
        Grid(1)
    with pytest.raises(ValueError, match="^high=0"):
        Grid(3, 0.0, 0.0)


def test_the_configuration_of_a_run_is_that_of_its_recipe(runs):
    config = landscapes.config_of(landscapes.RunDirectory(runs[1]))
    assert (config.batch_size, config.model.name) == (256, "logistic_regression")
    assert config.checkpoint.keep_epochs in ((1,), [1])


@pytest.mark.parametrize("kind", ["surface", "cuts"])
def test_the_command_writes_numbers_and_a_figure(kind, runs, tmp_path, capsys):
    command.landscape(
        kind, runs[:2], str(tmp_path), epochs=[1, 2], points=3, low=-0.5, high=1.0,
        statistics="re-estimate", log=True, seed=0, samples=50, sub_batch_size=50, data_dir=None,
    )  # fmt: skip
    path = tmp_path / f"landscape_{kind}.png"
    assert capsys.readouterr().out.splitlines()[-1] == str(path) and path.stat().st_size > 10_000
    about = json.loads((tmp_path / "landscape.json").read_text())
    if kind == "cuts":
        assert np.shape([[cut["losses"] for cut in row] for row in about["cuts"]]) == (2, 2, 3)
    else:
        assert np.shape(about["losses"]) == (3, 3)
