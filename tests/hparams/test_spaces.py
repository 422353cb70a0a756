"""The spaces in `hparams/spaces/`: default.py is ready for every recipe, and the papers' grids are the papers'."""

from __future__ import annotations

import itertools
import runpy
from pathlib import Path

import keras_tuner
import pytest

from tflbt import recipes
from tflbt.recipes import build
from tflbt.recipes import space as recipe_space
from tflbt.tuning import space

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"
FILES = sorted(HPARAMS.glob("*.py"))
SPACES = HPARAMS / "spaces"
NAMES = [
    (file.stem, name)
    for file in sorted(SPACES.glob("*.py"))
    for name in runpy.run_path(str(file))["SPACES"]
]
# A recipe for each space that does not go with every one.
FOR = {
    "default:bounds": "mnist_lenet.py:adam_bounded",
    "default:batch_size": "mnist_lenet.py:two_phase_lars",
    "limit_of_the_batch_size:figure_2": "imagenet_resnet50.py:optimization_4",
    "limit_of_the_batch_size:figure_7": "imagenet_resnet50.py:full_batch_4",
    "limit_of_the_batch_size:mnist_8192": "mnist_lenet.py:lars_polynomial",
    "limit_of_the_batch_size:table_4": "imagenet_resnet50.py:batch_128k",
    "curvature_radius:figure_9": "cifar10_alexnet.py:discard_8000",
}


def variants_of(file):
    return runpy.run_path(str(file)).get("VARIANTS", recipes.TABLE_ROWS)


def load(name, config):
    return recipe_space.load(f"{SPACES}/{name}", config)


def choices(hp):
    return {one.name: one.values for one in hp.space}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_default_goes_with_every_recipe(file):
    for variant in variants_of(file):
        config = recipes.load(f"{file}:{variant}")
        hp = load("default.py", config)
        space.check(hp, config, build.check)
        names = set(space.defaults(hp, config))
        assert "optimizer.learning_rate" in names
        assert ("schedule.beta" in names) == (config.schedule.name == "two_phase")
        assert ("warmup.epochs" in names) == (config.warmup.epochs > 0)
        assert ("optimizer.trust_coefficient" in names) == (config.optimizer.name == "LARS")


@pytest.mark.parametrize(("file", "name"), NAMES)
def test_every_space_passes_with_its_recipe(file, name):
    config = recipes.load(
        f"{HPARAMS}/{FOR.get(f'{file}:{name}', 'digits_resnet.py:two_phase_lars')}"
    )
    space.check(load(f"{file}.py:{name}", config), config, build.check)


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMES}))
def test_unknown_space_is_told_with_those_that_there_are(file):
    known = ", ".join(name for stem, name in NAMES if stem == file)
    with pytest.raises(
        ValueError, match=rf"{file}.py, line \d+: there is no space 'no': use one of {known}"
    ):
        load(f"{file}.py:no", recipes.load(f"{HPARAMS}/mnist_lenet.py"))


def test_default_ranges_are_around_the_recipes_own_values():
    config = recipes.load(f"{HPARAMS}/cifar10_resnet20.py:two_phase_lars")
    hp = load("default.py", config)
    ranges = {one.name: (one.min_value, one.max_value, one.sampling) for one in hp.space}
    assert ranges == {
        "optimizer.learning_rate": (pytest.approx(3.5 / 8), 28.0, "log"),
        "schedule.beta": (0.3, 0.7, "linear"),
        "warmup.epochs": (5.0, 20.0, "linear"),
        "optimizer.trust_coefficient": (0.0025, 0.04, "log"),
        "optimizer.weight_decay": (2.5e-5, 4e-4, "log"),
    }
    assert {one.name: one.default for one in hp.space} == space.defaults(hp, config)


@pytest.mark.parametrize("epochs", [1, 2, 12])
def test_default_of_a_short_training_leaves_the_decay_its_epochs(epochs):
    config = recipes.load(f"{HPARAMS}/mnist_lenet.py:lars_polynomial")
    short = space.apply(config, {"epochs": epochs, "warmup.epochs": min(10, epochs / 2)})
    for name in ("default", "learning_rate_warmup"):
        space.check(load(f"default.py:{name}", short), short, build.check)


def test_batch_sizes_are_those_that_divide_and_the_recipe_allows():
    def sizes(name, **changed):
        config = space.apply(recipes.load(f"{HPARAMS}/{name}"), changed)
        return choices(load("default.py:batch_size", config))["batch_size"]

    assert sizes("mnist_lenet.py:lars") == [1024, 2048, 4096, 8192, 16384]
    assert sizes("mnist_lenet.py:lars", sub_batch_size=2048) == [2048, 4096, 8192, 16384]
    assert sizes("cifar100_resnet18.py:absa_tuned", sub_batch_size=15) == [240, 480, 960, 1920]
    with pytest.raises(ValueError, match="config.sub_batch_size=128 divides fewer than two"):
        sizes("cifar100_resnet18.py:absa_tuned")


def test_bounds_never_cross_and_need_a_recipe_with_bounds():
    config = recipes.load(f"{HPARAMS}/mnist_lenet.py:adam_bounded")
    config.optimizer.ratio_bounds = (0.5, 2.0)
    low, high = load("default.py:bounds", config).space[1:]
    assert (low.min_value, low.max_value, high.min_value, high.max_value) == (0.25, 1, 1, 4)
    with pytest.raises(
        ValueError, match=r"default.py, line \d+: config.optimizer.ratio_bounds is not"
    ):
        load("default.py:bounds", recipes.load(f"{HPARAMS}/mnist_lenet.py:adam"))


def test_tables_6_and_7_are_the_papers():
    config = recipes.load(f"{HPARAMS}/cifar10_resnet20.py:two_phase_lars")
    assert choices(load("two_phase.py:table_6", config)) == {
        "schedule.extra_fraction": [0.2, 0.3, 0.4, 0.5]
    }
    assert choices(load("two_phase.py:table_7", config)) == {
        "schedule.beta": [0.3, 0.4, 0.5, 0.6, 0.7]
    }


def test_figure_2_is_a_grid_of_rates_and_warmups():
    config = recipes.load(f"{HPARAMS}/imagenet_resnet50.py:optimization_4")
    hp = load("limit_of_the_batch_size.py:figure_2", config)
    assert choices(hp) == {
        "optimizer.learning_rate": [7, 14, 28, 56],
        "warmup.epochs": [5, 15, 25, 35],
    }
    assert [one.default for one in hp.space] == [28, 25]  # the recipe's own
    assert set(itertools.product((26, 28, 30, 32), (0.94429, 0.95))) == set(
        itertools.product(*choices(load("limit_of_the_batch_size.py:table_4", config)).values())
    )


def test_grid_search_walks_the_whole_grid_of_mnist(tmp_path):
    config = recipes.load(f"{HPARAMS}/mnist_lenet.py:lars_polynomial")
    short = space.apply(config, {"epochs": 5, "warmup.epochs": 1})
    hp = load("limit_of_the_batch_size.py:mnist_8192", short)
    space.check(hp, short, build.check)
    oracle = keras_tuner.oracles.GridSearchOracle(
        objective=keras_tuner.Objective("val_accuracy", "max"), hyperparameters=hp
    )
    oracle._set_project_dir(str(tmp_path), "search")
    oracle.verbose = 0
    tried = []
    while (trial := oracle.create_trial("one")).status == "RUNNING":
        tried.append(tuple(trial.hyperparameters.values.values()))
        oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert tried[0] == (2.0, 1.0)  # the recipe's own
    assert len(tried) == 16
    assert set(tried) == set(itertools.product((0.5, 1.0, 2.0, 4.0), (0.0, 0.5, 1.0, 2.0)))
