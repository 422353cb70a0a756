"""Whatever a user's file does when it is run is one line that names file and line."""

from __future__ import annotations

import re

import pytest

from tflbt import recipes
from tflbt.recipes.user_file import UserFileError

BODIES = {  # what get_config does, or the file at its end: and what is said
    "return 1 / 0": "mine.py, line 3: ZeroDivisionError: division by zero",
    "return {}['x']": "mine.py, line 3: KeyError: 'x'",
    "raise SystemExit(0)": "mine.py, line 3: it ends the process, by SystemExit: 0",
    "raise GeneratorExit": "mine.py, line 3: GeneratorExit",
    "raise NotImplementedError": "mine.py, line 3: NotImplementedError",
    "return get_config(v)": "mine.py, line 3: RecursionError: maximum recursion",
    "return recipes.load(__file__)": "mine.py, line 3: RecursionError: maximum recursion",
    "return 'a' * 10**15": "mine.py, line 3: MemoryError",
    "return 2.0**100000": "mine.py, line 3: OverflowError",
    "return open('/nowhere')": "mine.py, line 3: FileNotFoundError: No such file or directory: '/nowhere'",
    "raise ValueError('a\\x1b[2J\\nb')": "mine.py, line 3: a [2J b",
    "class Mute(Exception):\n        def __str__(self): return 3\n    raise Mute": "mine.py, line 5: Mute",
    "return recipes.section('model', 'lenet', depth=1)": "mine.py, line 3: config.model.depth=1 is no key of lenet",
    "return recipes.load('absent.py')": "mine.py, line 3: FileNotFoundError: the recipe cannot be read",
    "return None": "mine.py: get_config must return a ConfigDict, as recipes.start does, not of type NoneType",
    "yield 1": "mine.py: get_config must return a ConfigDict, as recipes.start does, not of type generator",
    "import ml_collections as m; return m.FrozenConfigDict()": "mine.py: get_config must return a ConfigDict",
    "import ml_collections as m; return m.ConfigDict()": "mine.py: config.activation_noise is missing",
    "return config(epochs='2')": "mine.py: config.epochs='2' must be a whole number",
    "return config(epochs=True)": "mine.py: config.epochs=True must be a whole number",
    "return config(metrics={1})": "mine.py: config.metrics={1} must be a list",
    "return config(model=None)": "mine.py: config.model=None must be a section",
    "return config(data=config())": "mine.py: config.data.activation_noise is no key of a recipe",
    "return config(epocs=3)": "mine.py: config.epocs=3 is no key of a recipe: did you mean config.epochs?",
    "c = config(seed=1); r = c.get_ref('seed'); c.epochs = 7 // r; c.seed = 0; return c": "mine.py: config.epochs can",
    "return config(**{'3': 1})": "mine.py: config.3=1 is no key of a recipe",
}
START = """from tflbt import recipes
def get_config(v=""):
    {body}
def config(**changes):
    config = recipes.default_config()
    with config.unlocked():
        for key, value in changes.items():
            if key in config:
                del config[key]
            config[key] = value
    return config
"""


@pytest.mark.parametrize(("body", "says"), BODIES.items())
def test_whatever_get_config_does_is_one_line(body, says, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(START.replace("{body}", body))
    with pytest.raises(ValueError, match=f"^{re.escape(f'{tmp_path}/{says}')}[^\n]*$"):
        recipes.load(str(file))


def test_an_end_at_import_is_told_and_ctrl_c_passes(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import sys\nsys.exit('no\\nway')\n")
    with pytest.raises(UserFileError, match=r"mine.py, line 2: it ends the process, by .*no way"):
        recipes.load(str(file))
    file.write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        recipes.load(str(file))


def test_the_innermost_of_the_users_files_is_named_once(tmp_path):
    (tmp_path / "inner.py").write_text("def get_config(v=''):\n    return 1 / 0\n")
    (tmp_path / "outer.py").write_text(
        "from tflbt import recipes\n"
        f"def get_config(v=''): return recipes.load({str(tmp_path / 'inner.py')!r})\n"
    )
    with pytest.raises(ValueError) as error:
        recipes.load(str(tmp_path / "outer.py"))
    assert str(error.value) == f"{tmp_path}/inner.py, line 2: ZeroDivisionError: division by zero"
