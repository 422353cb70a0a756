"""The space of a search: KerasTuner's hyper-parameters, each named as the recipe's key that it sets."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_tuner
import ml_collections

from tflbt.tuning.space_check import check
from tflbt.tuning.values import apply, defaults, in_words, value_of

__all__ = ["apply", "check", "defaults", "in_words", "load", "named", "value_of"]


def load(space: str, config: ml_collections.ConfigDict) -> keras_tuner.HyperParameters:
    """Reads a space as `--space` names it.

    Args:
      space: "FILE.py:NAME", or "FILE.py" for the file's default; the file has a function `get_space(config, name)`.
      config: the recipe's configuration, on which ranges may depend; the file gets a copy.

    Returns:
      What `get_space` returns.

    Raises:
      ValueError: if the file is no space, has none of that name, or raises anything; names the file.
      OSError: if the file cannot be read.

    Example:
      >>> load("hparams/spaces/nothing.py:default", ml_collections.ConfigDict())
      Traceback (most recent call last):
      ...
      FileNotFoundError: ... the space cannot be read: 'hparams/spaces/nothing.py'
    """
    file, colon, name = space.partition(":")
    try:
        Path(file).read_bytes()
    except OSError as error:
        raise type(error)(error.errno, "the space cannot be read", file) from error
    spec = importlib.util.spec_from_file_location("tflbt_space", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is no space: it must be a Python file whose name ends in .py.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not callable(getattr(module, "get_space", None)):
            raise ValueError("is no space: it has no function get_space(config, name).")
        hp = module.get_space(copy.deepcopy(config), *([name] if colon else []))
        if not isinstance(hp, keras_tuner.HyperParameters):
            raise ValueError(f"get_space must return HyperParameters of KerasTuner, not {hp!r}.")
    except Exception as error:  # whatever a file does: one line that says where
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{space}: {kind}{error}") from error
    return hp


def named(spaces: Mapping[str, Any], name: str) -> Any:
    """What a file has under a space's name, for its `get_space`.

    Raises:
      ValueError: if there is none; the message lists those that there are.

    Example:
      >>> named({"table_6": dict, "table_7": list}, "table_8")
      Traceback (most recent call last):
      ...
      ValueError: there is no space 'table_8': use one of table_6, table_7.
    """
    if name not in spaces:
        raise ValueError(f"there is no space {name!r}: use one of {', '.join(spaces)}.")
    return spaces[name]
