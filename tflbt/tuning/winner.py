"""The winner of a search as a recipe file: what it sets beyond the defaults, for `--config` to take."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from tflbt.runs import atomic_file

_FILE = '''\
"""The best of a search over {search}: trial {trial}, with {objective} {value:.6g}.

python -m tflbt.train --config={file} --workdir=DIR
"""

from __future__ import annotations

import ml_collections
{placeholders}
from tflbt import recipes


def get_config(variant: str = "best") -> ml_collections.ConfigDict:
    """Returns the configuration that won."""
    config = recipes.start(__file__, variant, ("best",))
{lines}
    return config
'''
_INDENT = "    "
# Kinds of keys that can be None in a recipe and still say of which kind they are.
_PLACEHOLDERS = (bool, int, float, str, tuple, list)


def write_winner(
    path: str | os.PathLike[str],
    config: ConfigDict,
    defaults: ConfigDict,
    *,
    trial: int,
    objective: str,
    value: float,
) -> None:
    """Writes a configuration as a recipe file whose one variant is `best`.

    The file sets what differs from the defaults, one key per line, the name of a section first. A section that has
    other keys than its name brings is written whole. `tflbt.recipes.load` returns an equal configuration, with the same
    name; keys that are None keep their kind and can still be set on the command line. An existing file is replaced,
    whole or not at all. `config` is named for the recipe that was searched, `defaults` are
    `tflbt.recipes.default_config()`.
    """
    lines = "\n".join(_INDENT + line for line in _lines(config, defaults))
    placeholders = "from ml_collections import config_dict\n" if "config_dict." in lines else ""
    text = _FILE.format(
        search=_in_docstring(config.name),
        trial=trial,
        objective=_in_docstring(objective),
        value=float(value),
        file=_in_docstring(Path(path).name),
        placeholders=placeholders,
        lines=lines,
    )
    atomic_file.write(path, text)


def _lines(config: ConfigDict, defaults: ConfigDict) -> Iterator[str]:
    """What turns the defaults into a configuration; the name always, for `recipes.start` sets another."""
    yield f"config.name = {_literal(config.name, 'name')}"
    start = copy.deepcopy(defaults)  # as the file's own has become by the line that is written next
    named = [key for key in config if _has_other_name(config[key], start.get(key))]
    for key in named:
        start[key].name = config[key].name  # which brings the keys of its class
    same = [key for key in config if key in start and _is_same_kind(key, config, start)]
    for key in same:
        if key in named:
            yield f"config.{key}.name = {_literal(config[key].name, f'config.{key}.name')}"
        if key != "name":
            yield from _changes(key, config, start, f"config.{key}")
    other = [*_replacements(config, start, same)]
    if other:
        yield "with config.unlocked():"
        yield from (_INDENT + line for line in other)


def _has_other_name(section: Any, default: Any) -> bool:
    """True if both are sections with names, and these differ."""
    both = isinstance(section, ConfigDict) and isinstance(default, ConfigDict)
    return both and bool(section.get("name")) and "name" in default and section.name != default.name


def _is_same_kind(key: str, config: ConfigDict, defaults: ConfigDict) -> bool:
    """True if a key can be set where the defaults stand: sections have the same keys, and values the same type."""
    value, default = config[key], defaults[key]
    if isinstance(value, ConfigDict) and isinstance(default, ConfigDict):
        return set(value) == set(default) and all(_is_same_kind(k, value, default) for k in value)
    return value is None or isinstance(value, defaults.get_type(key))


def _changes(key: str, config: ConfigDict, defaults: ConfigDict, place: str) -> Iterator[str]:
    """An assignment for each value, at any depth, that differs from its default."""
    value, default = config[key], defaults[key]
    if isinstance(value, ConfigDict):
        for inner in value:
            yield from _changes(inner, value, default, f"{place}.{inner}")
    elif value != default:
        yield f"{place} = {_literal(value, place)}"


def _replacements(config: ConfigDict, defaults: ConfigDict, same: list[str]) -> Iterator[str]:
    """Lines for the keys that take the place of others, are new, or are gone; the configuration is unlocked."""
    for key in [*config, *(key for key in defaults if key not in config)]:
        if key in same:
            continue
        place = f"config.{key}"
        both = [isinstance(side.get(key), ConfigDict) for side in (config, defaults)]
        if key in defaults and not all(both):
            yield f"del {place}"  # a value of another kind could not take its place
        if key in config:
            first, *rest = _field(config, key, place).splitlines()
            yield f"{place} = {first}"
            yield from rest


def _field(section: ConfigDict, key: str, place: str) -> str:
    """A section's value in Python, a section in turn as a dictionary, the name first."""
    value, kind = section[key], section.get_type(key)
    if value is None and kind in _PLACEHOLDERS:
        return f"config_dict.placeholder({kind.__name__})"
    if not isinstance(value, ConfigDict):
        return _literal(value, place)
    lines = ["{"]
    for inner in sorted(value, key=lambda key: (key != "name", key)):
        text = f"{_literal(inner, place)}: {_field(value, inner, f'{place}.{inner}')},"
        lines += [_INDENT + line for line in text.splitlines()]
    return "\n".join([*lines, "}"])


def _literal(value: Any, place: str) -> str:
    """A plain value in Python, floats to the last bit."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is str:
        text = repr(value)
        return text if '"' in text else f'"{text[1:-1]}"'
    if type(value) is float and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or type(value) in (bool, int, float):
        return repr(value)
    if type(value) is list:
        return f"[{', '.join(_literal(item, place) for item in value)}]"
    if type(value) is tuple:
        comma = "," if len(value) == 1 else ""
        return f"({', '.join(_literal(item, place) for item in value)}{comma})"
    raise ValueError(
        f"{place}={value!r} cannot be written to a recipe file; "
        "give a number, text, True, False, None or a tuple or list of these."
    )


def _in_docstring(text: str) -> str:
    """A text on one line that does not end a docstring."""
    return " ".join(text.split()).replace("\\", "\\\\").replace('"', "'")
