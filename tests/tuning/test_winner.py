"""The winner's file is a recipe: it loads to the configuration that won, and `--config` takes it."""

from __future__ import annotations

import ast
import math
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict, config_dict

from tests.conftest import rank_environment
from tflbt import recipes
from tflbt.tuning.winner import write_winner

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"
RECIPES = [
    f"{file}:{variant}"
    for file in sorted(HPARAMS.glob("*.py"))
    for variant in runpy.run_path(str(file)).get("VARIANTS", recipes.TABLE_ROWS)
]


def written(path, config, **told):
    """Writes a winner and gives back its text."""
    told = {"trial": 3, "objective": "val_accuracy", "value": 0.9, **told}
    write_winner(path, config, recipes.default_config(), **told)
    return path.read_text("utf-8")


def kinds(config):
    """The type of every key, in sections too."""
    return {
        key: kinds(value) if isinstance(value, ConfigDict) else config.get_type(key)
        for key, value in config.items()
    }


def unlocked(**changes):
    """The defaults with top-level keys set or replaced."""
    config = recipes.default_config()
    with config.unlocked():
        for key, value in changes.items():
            config[key] = value
    return config


def test_every_recipe_comes_back_equal_and_with_the_same_kinds(tmp_path):
    path = tmp_path / "best.py"
    for name in RECIPES:
        config = recipes.load(name)
        before = config.copy_and_resolve_references()
        written(path, config)
        again = recipes.load(str(path))
        assert again == config == recipes.load(f"{path}:best"), name
        assert kinds(again) == kinds(config) and again.is_locked, name
        assert config.to_dict() == before.to_dict() and config.is_locked
    assert len(RECIPES) > 50


def test_only_what_differs_is_written(tmp_path):
    config = recipes.load(f"{HPARAMS}/digits_resnet.py:two_phase_lars")
    config.schedule.beta = 0.1 + 0.2  # 0.30000000000000004
    config.optimizer.learning_rate = 1 / 3
    text = written(tmp_path / "best.py", config, trial=12, objective="val_loss", value=0.12345678)
    assert text.splitlines()[0] == (
        '"""The best of a search over digits_resnet:two_phase_lars: trial 12, with val_loss 0.123457.'
    )
    body = text.partition('("best",))\n')[2]
    assert (
        body
        == """\
    config.name = "digits_resnet:two_phase_lars"
    config.batch_size = 512
    config.data.padding = 1
    config.epochs = 60
    config.optimizer.name = "LARS"
    config.optimizer.exclude_from_adaptation = ("bias", "norm")
    config.optimizer.exclude_from_weight_decay = ("bias", "norm")
    config.optimizer.learning_rate = 0.3333333333333333
    config.optimizer.trust_coefficient = 0.01
    config.optimizer.weight_decay = 0.0005
    config.schedule.name = "two_phase"
    config.schedule.beta = 0.30000000000000004
    config.sub_batch_size = 64
    config.warmup.epochs = 5.0
    return config
"""
    )


def test_the_defaults_themselves_are_a_winner(tmp_path):
    config = recipes.default_config()  # its name is "", which is not what `recipes.start` sets
    text = written(tmp_path / "best.py", config)
    assert recipes.load(str(tmp_path / "best.py")) == config
    assert 'config.name = ""\n    return config' in text
    assert "config_dict" not in text and "unlocked" not in text


def test_a_section_of_the_defaults_keys_is_changed_in_place(tmp_path):
    config = unlocked(optimizer={"name": "Adam", "learning_rate": 0.001})
    text = written(tmp_path / "best.py", config)
    assert 'config.optimizer.name = "Adam"' in text and "unlocked" not in text
    assert recipes.load(str(tmp_path / "best.py")) == config


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "SGD"},  # the defaults have a learning rate
        {"name": "SGD", "learning_rate": 1},  # a whole number where the defaults have a float
        {"name": "LayerWise", "learning_rate": 0.1, "inner": {"name": "SGD", "deeper": {"a": {}}}},
        {"name": "SGD", "learning_rate": None},
        {"name": "SGD", "learning_rate": config_dict.placeholder(float)},
        {"name": "SGD", "learning_rate": 0.1, "kind": config_dict.placeholder(object)},
        {"name": "SGD", "learning_rate": 0.1, "clip": config_dict.FieldReference(2.0, float)},
        {},
    ],
)
def test_a_section_is_what_the_winner_has_and_no_more(optimizer, tmp_path):
    config = unlocked(optimizer=optimizer)
    written(tmp_path / "best.py", config)
    again = recipes.load(str(tmp_path / "best.py"))
    assert again == config
    assert set(again.optimizer) == set(config.optimizer) >= set(optimizer)
    for key in {"deeper", "kind", "clip"} & set(optimizer):
        assert again.optimizer[key] == config.optimizer[key]


@pytest.mark.parametrize(
    "value",
    [math.inf, -math.inf, 5e-324, 1e300, 0.1, 1e16, -7, 10**30, True, None, "", "it's", 'a "b"', "\\", 'c\\"\'',
     "β\n\t", '"""', (), (1,), (1, (2.5, "x"), [None, ()]), [math.inf], np.float32(0.1), np.float64(0.1), np.int64(3)],
    ids=repr,
)  # fmt: skip
def test_values_come_back_to_the_last_bit(value, tmp_path):
    config = unlocked(optimizer={"name": "SGD", "learning_rate": 0.1, "extra": value}, fresh=value)
    written(tmp_path / "best.py", config)
    again = recipes.load(str(tmp_path / "best.py"))
    assert again == config
    plain = value.item() if isinstance(value, np.generic) else value
    assert type(again.fresh) is type(again.optimizer.extra) is type(plain)


def test_not_a_number_comes_back(tmp_path):
    config = recipes.default_config()
    config.stall_limit = math.nan
    written(tmp_path / "best.py", config)
    assert math.isnan(recipes.load(str(tmp_path / "best.py")).stall_limit)


def test_keys_of_another_kind_or_gone_come_back_so(tmp_path):
    config = recipes.default_config()
    config.checkpoint.keep = None
    config.schedule.until = 12.5
    with config.unlocked():
        del config.epochs, config.warmup, config.precision
        config.epochs = 2.5
        config.precision = {"name": "float32"}
        config.note = "new"
    written(tmp_path / "best.py", config)
    again = recipes.load(str(tmp_path / "best.py"))
    assert again == config and "warmup" not in again
    assert kinds(again) == kinds(config)


def test_a_value_that_no_literal_says_is_named_and_nothing_written(tmp_path):
    path = tmp_path / "best.py"
    path.write_text("kept")
    for value in (object(), (1, {2}), math.sqrt):
        config = unlocked(optimizer={"name": "SGD", "inner": {"rate": value}})
        with pytest.raises(
            ValueError, match=r"^config\.optimizer\.inner\.rate=.* cannot be written"
        ):
            written(path, config)
    assert path.read_text() == "kept" and len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize(
    "name", ['my "own"', 'ends in "', '"""', "back\\slash\\", "two\nlines", "βeta"]
)
def test_any_name_makes_a_docstring(name, tmp_path):
    config = recipes.default_config()
    config.name = name
    text = written(tmp_path / "best.py", config, objective=name, value=math.inf)
    first = ast.get_docstring(ast.parse(text)).splitlines()[0]
    told = " ".join(name.split()).replace('"', "'")
    assert first == f"The best of a search over {told}: trial 3, with {told} inf."
    assert recipes.load(str(tmp_path / "best.py")).name == name


def test_another_variant_is_told(tmp_path):
    written(tmp_path / "best.py", recipes.default_config())
    with pytest.raises(ValueError, match="has no variant 'lars': use one of best"):
        recipes.load(f"{tmp_path}/best.py:lars")


def test_the_file_is_as_ours_are_and_the_flag_of_train_takes_it(tmp_path):
    config = recipes.load(f"{HPARAMS}/mnist_lenet.py:adam_bounded")
    text = written(tmp_path / "best.py", config)
    assert str(tmp_path) not in text
    program = Path(__file__).with_name("config_of_flag.py")
    for flag in ("best.py", "best.py:best"):
        ran = subprocess.run(
            [sys.executable, program, f"--config={flag}", "--config.optimizer.global_clipnorm=2"],
            env=rank_environment(), cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert ran.stdout.strip() == "mnist_lenet:adam_bounded True Adam 2.0"
