"""Validators of arguments: each raises ValueError naming the argument, its value and what would do."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any


def is_number(value: Any) -> bool:
    """Whether a value is a real number, NumPy's included; True and False are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, NumPy's included; True and False are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    more_than: float | None = None,
    at_most: float | None = None,
    less_than: float | None = None,
    hint: str = "",
) -> None:
    """Raises ValueError unless a value is a finite number within bounds; the hint follows the range in the message.

    Raises:
        ValueError: If the value is no finite number or out of its bounds.

    Example:
        >>> number("beta", 1.5, more_than=0, less_than=1, hint="; the paper's is 0.5")
        Traceback (most recent call last):
        ...
        ValueError: beta=1.5 must be more than 0 and less than 1; the paper's is 0.5.
    """
    if (
        is_number(value)
        and math.isfinite(value)
        and (at_least is None or value >= at_least)
        and (more_than is None or value > more_than)
        and (at_most is None or value <= at_most)
        and (less_than is None or value < less_than)
    ):
        return
    wanted = _range(at_least, more_than, at_most, less_than)
    if not wanted:
        wanted = "a finite number"
    elif value == math.inf and at_most is None and less_than is None:
        wanted = f"finite and {wanted}"
    raise ValueError(f"{name}={value!r} must be {wanted}{hint}.")


def whole(
    name: str,
    value: Any,
    *,
    at_least: int | None = None,
    at_most: int | None = None,
    hint: str = "",
) -> None:
    """Raises ValueError unless a value is a whole number within bounds.

    Raises:
        ValueError: If the value is no whole number or out of its bounds.

    Example:
        >>> whole("iterations", 0, at_least=1)
        Traceback (most recent call last):
        ...
        ValueError: iterations=0 must be a whole number, at least 1.
    """
    if (
        is_whole(value)
        and (at_least is None or value >= at_least)
        and (at_most is None or value <= at_most)
    ):
        return
    wanted = _range(at_least, None, at_most, None)
    raise ValueError(f"{name}={value!r} must be a whole number{wanted and f', {wanted}'}{hint}.")


def increasing(name: str, values: Any, *, whole: bool = False, hint: str = "") -> None:
    """Raises ValueError unless values are a list of increasing numbers, each more than 0."""
    found = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else ()
    of_kind = is_whole if whole else is_number
    if (
        not found
        or not all(of_kind(value) and value < math.inf for value in found)
        or not all(before < after for before, after in zip((0, *found), found))
    ):
        kind = "whole numbers" if whole else "numbers"
        raise ValueError(f"{name}={values!r} must be increasing {kind}, each more than 0{hint}.")


def one_of(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raises ValueError, whose message lists the choices, unless a value is one of them."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, choices))}.")


def _range(
    at_least: float | None, more_than: float | None, at_most: float | None, less_than: float | None
) -> str:
    """The bounds in words, such as "at least 0 and less than 1"."""
    if at_least is not None and at_most is not None:
        return f"between {at_least:g} and {at_most:g}"
    bounds = {
        "at least": at_least,
        "more than": more_than,
        "at most": at_most,
        "less than": less_than,
    }
    return " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)


def overridden(thing: Any, names: Iterable[str], is_theirs: Callable[[type], bool]) -> list[str]:
    """The names that an object defines itself, or the first of its classes that has them and is not theirs.

    Example:
        >>> class Own(dict):
        ...     def get(self, key):
        ...         return None
        >>> overridden(Own(), ["get", "keys"], lambda cls: cls in dict.__mro__)
        ['get']
    """
    attributes = getattr(thing, "__dict__", {})

    def is_own(name: str) -> bool:
        owner = next((cls for cls in type(thing).__mro__ if name in vars(cls)), None)
        return name in attributes or (owner is not None and not is_theirs(owner))

    return [name for name in names if is_own(name)]
