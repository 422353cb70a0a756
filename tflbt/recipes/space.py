"""How the file of a space in `hparams/spaces/` is read, for a recipe."""

from __future__ import annotations

import copy

import keras_tuner
import ml_collections

from tflbt import recipes
from tflbt.recipes.config import named


def load(space: str, config: ml_collections.ConfigDict) -> keras_tuner.HyperParameters:
    """Reads the space that `--space` names, "FILE.py:NAME" or "FILE.py": what the file's `get_space` returns."""
    file, name = named(space)
    get_space = recipes.read_function(file, "get_space", "space")
    try:
        hp = get_space(copy.deepcopy(config), *name)
        if not isinstance(hp, keras_tuner.HyperParameters):
            raise ValueError(f"get_space must return HyperParameters of KerasTuner, not {hp!r}.")
    except Exception as error:  # whatever a file does: one line that says where
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{space}: {kind}{error}") from error
    return hp
