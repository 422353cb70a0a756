"""A trial's values, set in a recipe, read from it, and in words."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
from ml_collections import ConfigDict

# KerasTuner's Hyperband adds values of its own, such as "tuner/epochs".
_OF_THE_TUNER = "tuner/"


def apply(config: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
    """Returns a copy of a recipe in which a trial's values are set, by dotted key, or KEY.INDEX in a tuple.

    Whole numbers become floats where the recipe has floats, and the other way round; values that KerasTuner's
    Hyperband adds for itself (`tuner/...`) are left out. Raises ValueError if the recipe has no such key, or it holds
    values of another type.

    Example:
        >>> config = ConfigDict({"optimizer": {"ratio_bounds": (0.1, 10.0)}})
        >>> apply(config, {"optimizer.ratio_bounds.1": 5}).optimizer.ratio_bounds
        (0.1, 5.0)
    """
    changed = copy.deepcopy(config)
    # A section's name comes first: it says which keys the section has. Keys of another name's class do nothing.
    for name in sorted(values, key=lambda name: not name.endswith(".name")):
        value = values[name]
        if name.startswith(_OF_THE_TUNER) or _of_another_class(changed, name, values):
            continue
        section, key, indices = _find(changed, name)
        if indices:
            section[key] = _replaced(section[key], indices, value, name)
        else:
            section[key] = _as_type(section.get_type(key), value, name)
    return changed


def value_of(config: ConfigDict, name: str) -> Any:
    """Returns what a recipe has where a hyper-parameter goes; raises ValueError with the keys at that place."""
    section, key, indices = _find(config, name)
    value = section[key]
    for index in indices:
        value = value[_number(value, index, name)]
    return value


def defaults(hp: keras_tuner.HyperParameters, config: ConfigDict) -> dict[str, Any]:
    """Returns the recipe's own values of the keys that are searched."""
    return {
        parameter.name: value_of(apply(config, bringing(hp, config, parameter)), parameter.name)
        for parameter in hp.space
    }


def bringing(hp: keras_tuner.HyperParameters, config: ConfigDict, parameter: Any) -> dict[str, Any]:
    """The searched values with which a recipe has a hyper-parameter's key: its parents', or a name of its section."""
    name_key = f"{parameter.name.partition('.')[0]}.name"
    changes = [{condition.name: condition.values[0] for condition in parameter.conditions}]
    changes += [{name_key: v} for other in hp.space if other.name == name_key for v in other.values]
    for change in ({}, *changes):
        try:
            value_of(apply(config, change), parameter.name)
        except ValueError:
            continue
        return change
    return {}


def in_words(values: Mapping[str, Any]) -> str:
    """Returns a trial's values in one line, with four significant digits, for people."""
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in values.items()
        if not name.startswith(_OF_THE_TUNER)
    )


def _of_another_class(config: ConfigDict, name: str, values: Mapping[str, Any]) -> bool:
    """True if a trial names the class of a section, and this key belongs to another class."""
    section, _, key = name.partition(".")
    return f"{section}.name" in values and key.partition(".")[0] not in config.get(section, {})


def _find(config: ConfigDict, name: str) -> tuple[ConfigDict, str, list[str]]:
    """The section that holds a hyper-parameter's key, the key, and what comes after it."""
    section, path, parts = config, "config", name.split(".")
    for place, part in enumerate(parts, start=1):
        if part not in section:
            known = ", ".join(sorted(section))
            raise ValueError(f"{name} is no key of this recipe: {path} has {known}.")
        if not isinstance(section[part], ConfigDict):
            return section, part, parts[place:]
        section, path = section[part], f"{path}.{part}"
    known = ", ".join(f"{name}.{key}" for key in sorted(section))
    raise ValueError(f"{name} is a whole section of this recipe: search its keys, as {known}.")


def _replaced(old: Any, indices: Sequence[str], value: Any, name: str) -> Any:
    """A tuple with another value at one place, which may be in a tuple inside it."""
    if not indices:
        return _as_type(type(old), value, name)
    place = _number(old, indices[0], name)
    return (*old[:place], _replaced(old[place], indices[1:], value, name), *old[place + 1 :])


def _number(value: Any, index: str, name: str) -> int:
    """The place of an element in a tuple."""
    if not isinstance(value, (tuple, list)):
        raise ValueError(f"{name} is no key of this recipe: before .{index} there is {value!r}.")
    if not (index.isdecimal() and int(index) < len(value)):
        raise ValueError(
            f"{name} is no key of this recipe: {value!r} has the elements 0 to {len(value) - 1}."
        )
    return int(index)


def _as_type(kind: type, value: Any, name: str) -> Any:
    """A value as the type that a key holds."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and number:
        return float(value)
    if kind is int and number and float(value).is_integer():
        return int(value)
    if kind is bool and value in (0, 1):  # a Choice of KerasTuner keeps True as 1
        return bool(value)
    whole = kind is int and isinstance(value, bool)
    if kind is not type(None) and (whole or not isinstance(value, kind)):
        more = f": search its elements, as {name}.0" if kind in (tuple, list) else ""
        raise ValueError(
            f"{name}={value!r} must be of type {kind.__name__}, as in the recipe{more}."
        )
    return value
