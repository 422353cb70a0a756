"""How the file of a space in `hparams/spaces/` is read, for a recipe."""

from __future__ import annotations

import copy

import keras_tuner
import ml_collections

from tflbt import checks, recipes
from tflbt.recipes.user_file import named, running


def load(space: str, config: ml_collections.ConfigDict) -> keras_tuner.HyperParameters:
    """Reads the space that `--space` names, "FILE.py:NAME" or "FILE.py": what the file's `get_space` returns."""
    file, name = named(space)
    get_space = recipes.read_function(file, "get_space", "space")
    with running(file):
        hp = get_space(copy.deepcopy(config), *name)
    if not isinstance(hp, keras_tuner.HyperParameters):
        raise ValueError(
            f"{space}: get_space must return HyperParameters of KerasTuner, not {checks.shown(hp)}."
        )
    return hp
