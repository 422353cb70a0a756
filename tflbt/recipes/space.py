"""How the file of a space in `hparams/spaces/` is read, for a recipe."""

from __future__ import annotations

import copy

import keras_tuner
import ml_collections

from tflbt import recipes


def load(space: str, config: ml_collections.ConfigDict) -> keras_tuner.HyperParameters:
    """Reads a space as `--space` names it.

    Args:
        space: "FILE.py:NAME", or "FILE.py" for the file's default; the file has a function `get_space(config, name)`.
        config: The recipe's configuration, on which ranges may depend; the file gets a copy.

    Returns:
        What `get_space` returns.

    Raises:
        ValueError: If the file is no space, has none of that name, or raises anything; names the file.
        OSError: If the file cannot be read.

    Example:
        >>> load("hparams/spaces/nothing.py:default", ml_collections.ConfigDict())
        Traceback (most recent call last):
        ...
        FileNotFoundError: ... the space cannot be read: 'hparams/spaces/nothing.py'
    """
    file, colon, name = space.partition(":")
    get_space = recipes.read_function(file, "get_space", "space")
    try:
        hp = get_space(copy.deepcopy(config), *([name] if colon else []))
        if not isinstance(hp, keras_tuner.HyperParameters):
            raise ValueError(f"get_space must return HyperParameters of KerasTuner, not {hp!r}.")
    except Exception as error:  # whatever a file does: one line that says where
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{space}: {kind}{error}") from error
    return hp
