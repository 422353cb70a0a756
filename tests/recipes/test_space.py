"""Files of spaces are read for a recipe; those that are none are named."""

from __future__ import annotations

import pytest

from tflbt import recipes
from tflbt.recipes import space as recipe_space

GOOD = """
import keras_tuner
def get_space(config, name="rates"):
    hp = keras_tuner.HyperParameters()
    hp.Choice("optimizer.learning_rate", [config.optimizer.learning_rate, 7.0])
    if name == "more":
        hp.Int("batch_size", 64, 128, step=64)
    return hp
"""


@pytest.fixture
def config():
    made = recipes.default_config()
    made.optimizer.learning_rate, made.epochs = 0.5, 10
    return made


def test_a_file_is_read_and_given_the_recipe(tmp_path, config):
    file = tmp_path / "mine.py"
    file.write_text(GOOD)
    assert [one.values for one in recipe_space.load(str(file), config).space] == [[0.5, 7.0]]
    assert [one.name for one in recipe_space.load(f"{file}:more", config).space][1:] == [
        "batch_size"
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "mine.py is no space: it has no function get_space"),
        ("def get_space(:", "mine.py: SyntaxError"),
        ("import absent_thing", "mine.py, line 1: ModuleNotFoundError: No module named 'absent_thing'"),
        ("def get_space(config, name): return {}", "mine.py:a: get_space must return HyperPara"),
        ("def get_space(config): pass", "mine.py: TypeError"),
        (GOOD + "def get_space(config, name): 1 / 0", "mine.py, line 9: ZeroDivisionError"),
        (GOOD.replace("64, 128", "9, 1").replace("more", "a"), "mine.py, line 7: .*min_value 9 is greater"),
        (GOOD.replace("[config.optimizer.learning_rate, 7.0]", "[]"), "mine.py, line 5: `values` must be"),
        (GOOD.replace(".learning_rate", ".rate"), "mine.py, line 5: .*rate"),
        (GOOD.replace("    hp = ", "    config.epochs = 99; hp = "), None),
    ],
)  # fmt: skip
def test_a_file_that_is_no_space_is_named(tmp_path, config, text, says):
    file = tmp_path / "mine.py"
    file.write_text(text)
    if says is None:  # what a file does to its copy of the recipe stays there
        recipe_space.load(f"{file}:a", config)
        assert config.epochs == 10
        return
    with pytest.raises(ValueError, match=says):
        recipe_space.load(f"{file}:a", config)


def test_a_missing_file_is_named(tmp_path, config):
    with pytest.raises(FileNotFoundError, match="the space cannot be read: '.*/absent.py'"):
        recipe_space.load(f"{tmp_path}/absent.py:a", config)
    with pytest.raises(IsADirectoryError, match="the space cannot be read"):
        recipe_space.load(str(tmp_path), config)
    (tmp_path / "space.txt").write_text(GOOD)
    with pytest.raises(ValueError, match="space.txt is no space: .* whose name ends in .py"):
        recipe_space.load(f"{tmp_path}/space.txt", config)
