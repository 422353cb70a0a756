"""What a recipe may say: unknown keys are errors, and files are read as `--config` names them."""

from __future__ import annotations

import os

import pytest

from tflbt import recipes


def test_defaults_are_locked_and_new_each_time():
    config = recipes.default_config()
    with pytest.raises(AttributeError, match="batchsize"):
        config.batchsize = 1
    config.stability.tolerance = 0.25
    assert recipes.default_config().stability.tolerance == 0.02


def test_placeholders_take_their_type_only():
    config = recipes.default_config()
    config.schedule.name = "two_phase"
    assert config.sub_batch_size is None and config.schedule.patience is None
    config.sub_batch_size, config.schedule.patience = 64, 3
    with pytest.raises(TypeError):
        config.sub_batch_size = "64"


def test_start_names_the_recipe():
    assert recipes.start("/a/b/mine.py", "fast", ("fast", "slow")).name == "mine:fast"
    with pytest.raises(
        ValueError, match="/a/b/mine.py has no variant 'lars': use one of fast, slow"
    ):
        recipes.start("/a/b/mine.py", "lars", ("fast", "slow"))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("empty.py", "", "it has no function get_config"),
        ("recipe.txt", "", "whose name ends in .py"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(name, text, says, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name} is no recipe: .*{says}"):
        recipes.load(f"{tmp_path / name}:lars")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="the recipe cannot be read: '.*/absent.py'"):
        recipes.load(f"{tmp_path}/absent.py")
    with pytest.raises(IsADirectoryError, match="the recipe cannot be read"):
        recipes.load(str(tmp_path))


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (
            "epoch",
            "config.epoch is no key of this recipe: config has activation_noise, adversarial, ",
        ),
        ("data.size", "config.data has brightness, contrast, crop_area, crop_draw, "),
        ("seed.value", "config.seed is a value"),
    ],
)
def test_a_key_that_there_is_not_is_told_with_its_neighbours(key, says):
    with pytest.raises(ValueError) as error:
        recipes.require_key(recipes.default_config(), key)
    assert says in str(error.value)
    recipes.require_key(recipes.default_config(), "small_loss.epochs")


def test_a_recipe_that_has_just_changed_is_read_anew(tmp_path, monkeypatch):
    """Python's cached byte code would still be taken: the size and the second of the change are the same."""
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    path = tmp_path / "recipe.py"
    for epochs in (3, 4):
        path.write_text(
            "from tflbt import recipes\n"
            "def get_config():\n"
            "    config = recipes.default_config()\n"
            f"    config.epochs = {epochs}\n"
            "    return config\n"
        )
        os.utime(path, (1e9, 1e9))
        assert recipes.load(str(path)).epochs == epochs
