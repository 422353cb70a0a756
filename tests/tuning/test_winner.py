"""The winner's file is a recipe of plain values: it loads to the configuration that won, and `--config` takes it."""

from __future__ import annotations

import json
import math
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from tests.conftest import rank_environment
from tflbt import recipes
from tflbt.recipes import build
from tflbt.tuning.winner import write_winner

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"
RECIPES = [
    f"{file}:{variant}"
    for file in sorted(HPARAMS.glob("*.py"))
    for variant in runpy.run_path(str(file)).get("VARIANTS", recipes.TABLE_ROWS)
]
WON = {"trial": 3, "objective": "val_accuracy", "value": 0.9}


def kinds(config):
    """The type of every key, in sections too."""
    return {
        key: kinds(value) if isinstance(value, ConfigDict) else config.get_type(key)
        for key, value in config.items()
    }


def test_every_recipe_comes_back_equal_and_with_the_same_kinds(tmp_path):
    path = tmp_path / "best.json"
    for name in RECIPES:
        config = recipes.load(name)
        before = config.copy_and_resolve_references()
        write_winner(path, config, **WON)
        again = recipes.load(str(path))
        assert again == config and again.is_locked, name
        assert kinds(again) == kinds(config), name
        assert config.to_dict() == before.to_dict() and config.is_locked
    assert len(RECIPES) > 50


def test_floats_come_back_to_the_last_bit_and_names_as_they_are(tmp_path):
    config = recipes.load(f"{HPARAMS}/digits_resnet.py:two_phase_lars")
    config.schedule.beta = 0.1 + 0.2
    config.optimizer.learning_rate = 5e-324
    config.stall_limit, config.name = math.inf, 'my "own"\n\\ β'
    write_winner(tmp_path / "best.json", config, **WON)
    assert recipes.load(str(tmp_path / "best.json")) == config
    config.stall_limit = math.nan
    write_winner(tmp_path / "best.json", config, **WON)
    assert math.isnan(recipes.load(str(tmp_path / "best.json")).stall_limit)
    assert json.loads((tmp_path / "best.json").read_text())["best"] == WON


def test_a_value_that_json_has_not_is_named_and_nothing_written(tmp_path):
    config = recipes.default_config()
    with config.unlocked():
        config.inner = {"rate": object()}
    with pytest.raises(ValueError, match=r"^config\.inner\.rate = .* cannot be kept"):
        write_winner(tmp_path / "best.json", config, **WON)
    assert not [*tmp_path.iterdir()]


EVIL = {
    "no configuration": ({"best": {}}, "holds no configuration"),
    "a list": ([1], "holds no dictionary"),
    "code": ({"config": "__import__('os').system('touch hacked')"}, "holds no configuration"),
    "a key": ({"__class__": 1}, "config.__class__ is no key"),
    "a section": ({"optimizer": 3}, "best.json: "),
    "another type": ({"epochs": "60"}, "best.json: "),
    "of data": ({"data": {"name": 5}}, "best.json: "),
    "data itself": ({"data": [1]}, "holds no configuration"),
    "deep": (
        {"optimizer": {"name": "LayerWise", "inner": {"name": 5}}},
        "config.optimizer.inner.name=5",
    ),
}


@pytest.mark.parametrize("case", EVIL)
def test_what_is_no_configuration_is_refused_in_one_line(case, tmp_path):
    changes, says = EVIL[case]
    write_winner(tmp_path / "best.json", recipes.default_config(), **WON)
    content = json.loads((tmp_path / "best.json").read_text())["config"]
    if isinstance(changes, dict) and not set(changes) & {"best", "config"}:
        changes = {**content, **changes}
    (tmp_path / "best.json").write_text(json.dumps(changes))
    with pytest.raises(ValueError) as caught:
        build.check(recipes.load(str(tmp_path / "best.json")))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_winner_of_an_earlier_version_is_a_recipe_as_any_other(tmp_path):
    path = tmp_path / "best.py"
    path.write_text(
        '"""The best of a search."""\n\nfrom tflbt import recipes\n\n\n'
        'def get_config(variant: str = "best"):\n'
        '    config = recipes.start(__file__, variant, ("best",))\n'
        '    config.name = "digits_resnet:lars"\n    config.optimizer.name = "LARS"\n    return config\n'
    )
    assert recipes.load(str(path)) == recipes.load(f"{path}:best")
    assert recipes.load(str(path)).optimizer.name == "LARS"


def test_the_flag_of_train_takes_it_from_any_folder(tmp_path):
    config = recipes.load(f"{HPARAMS}/mnist_lenet.py:adam_bounded")
    folder = tmp_path / "a:b [1]"
    folder.mkdir()
    write_winner(folder / "best.json", config, **WON)
    with pytest.raises(ValueError, match="has no variant 'lars'"):
        recipes.load(f"{folder}/best.json:lars")
    program = Path(__file__).with_name("config_of_flag.py")
    flags = [f"--config={folder}/best.json", "--config.optimizer.global_clipnorm=2"]
    ran = subprocess.run(
        [sys.executable, program, *flags],
        env=rank_environment(), cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.strip() == "mnist_lenet:adam_bounded True Adam 2.0"
