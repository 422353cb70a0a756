"""The space of a search: KerasTuner's hyper-parameters, each named after the recipe's key that it sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflbt.tuning.space_check import check
from tflbt.tuning.values import apply, defaults, in_words, value_of

__all__ = ["apply", "check", "defaults", "in_words", "named", "value_of"]


def named(spaces: Mapping[str, Any], name: str) -> Any:
    """Returns the entry of a file's spaces with a name, for its `get_space`; raises ValueError if there is none."""
    if name not in spaces:
        raise ValueError(f"there is no space {name!r}: use one of {', '.join(spaces)}.")
    return spaces[name]
