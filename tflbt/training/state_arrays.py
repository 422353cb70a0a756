"""Keeps NumPy arrays apart from the JSON values of a checkpoint's state, and puts them back."""

from __future__ import annotations

from typing import Any

import numpy as np

_MARK = "array_in_npz"


def take_out(state: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The state with a mark in place of each array; the arrays go into `arrays`, by the mark's name.

    Example:
        >>> arrays = {}
        >>> take_out({"a": [np.zeros(2), 3]}, arrays)
        {'a': [{'array_in_npz': '0'}, 3]}
        >>> arrays["0"].tolist()
        [0.0, 0.0]
    """
    if isinstance(state, np.ndarray):
        name = str(len(arrays))
        arrays[name] = state
        return {_MARK: name}
    if isinstance(state, dict):
        return {key: take_out(value, arrays) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [take_out(value, arrays) for value in state]
    return state


def put_back(state: Any, arrays: Any) -> Any:
    """Undoes `take_out`.

    Example:
        >>> put_back({"a": [{"array_in_npz": "0"}, 3]}, {"0": "the array"})
        {'a': ['the array', 3]}
    """
    if isinstance(state, dict):
        if set(state) == {_MARK}:
            return arrays[state[_MARK]]
        return {key: put_back(value, arrays) for key, value in state.items()}
    if isinstance(state, list):
        return [put_back(value, arrays) for value in state]
    return state
