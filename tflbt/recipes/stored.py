"""A configuration as JSON, of a search's winner or of a run: it is read as data, and nothing in it is run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from tflbt.runs import received


def load(path: str | os.PathLike[str], config: ConfigDict) -> ConfigDict:
    """Reads `best.json` of a search, or `config.json` of a run, into a recipe that has all defaults, and returns it.

    Raises:
        ValueError: If it holds no configuration, a key that recipes do not have, or a value of another type.
        OSError: If the file cannot be read.
    """
    content = received.read_json(path)
    values = content.get("config", content)
    sections = {"model", "optimizer", "data"}
    if (
        not isinstance(values, dict)
        or not sections <= values.keys()
        or not isinstance(values["data"], dict)
    ):
        raise ValueError(f"{path} is no recipe: it holds no configuration.")
    unknown = [key for key in values if key not in config]
    unknown += [f"data.{key}" for key in values["data"] if key not in config.data]
    if unknown:
        raise ValueError(f"{path}: config.{unknown[0]} is no key of a recipe.")
    try:
        return from_plain(values, config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def from_plain(values: Mapping[str, Any], config: ConfigDict) -> ConfigDict:
    """Sets the keys of a recipe to plain values, and returns it; keys that it does not have are left out."""
    for key, value in values.items():
        if key == "data":
            config.data.update({k: _tuples(v) for k, v in value.items() if k in config.data})
        elif key in config:
            config[key] = _tuples(value)
    return config


def _tuples(value: Any) -> Any:
    """Returns plain values with tuples, as recipes have them, in place of lists."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
