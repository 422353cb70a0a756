"""Validators of arguments: each raises ValueError naming the argument, its value and what would do."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import math
import numbers
import os
import reprlib
import types
import typing
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import numpy as np

Target = TypeVar("Target", bound=Callable[..., Any])
Measured = Annotated[float, "measured"]  # any number, NaN and infinities too
LARGEST = 2**31 - 1  # of any number: TensorFlow counts in 32 bits, and more is a slip of the pen
MOST_PIXELS = 100_000  # of an image's side, which tf.image could not hold
LONGEST_SHOWN = 300  # characters of a value in a message
LARGEST_SEED = 2**63 - 1  # as TensorFlow's and NumPy's generators take it


def arguments(target: Target) -> Target:
    """Decorates a function, or a class for its constructor: arguments that their annotations exclude are refused.

    `int` stands for a whole number up to `LARGEST`, `float` for a finite one, `Measured` for any, `bool` for True and
    False alone; a `Sequence` is no text, and what is in it is looked at too. `Any` stands for everything. What else a
    value must be, such as positive, the function itself says.

    Raises:
        TypeError: By Python, for arguments that are missing or unknown.

    Example:
        >>> @arguments
        ... def decayed(rate: float, epochs: int | None = None) -> float:
        ...     return rate / (epochs or 1)
        >>> decayed(0.5, epochs="2")
        Traceback (most recent call last):
        ...
        ValueError: epochs='2' must be a whole number or None.
    """
    if isinstance(target, type):
        target.__init__ = arguments(target.__init__)  # type: ignore[misc]
        return target
    signature = inspect.signature(target)
    kinds: dict[str, Any] = {}

    @functools.wraps(target)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if not kinds:  # read at the first call: an annotation may name what is defined further down
            kinds.update({"return": None, **typing.get_type_hints(target, include_extras=True)})
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return target(*args, **kwargs)  # Python's own words, with the function's name
        single = {}
        for name, value in bound.arguments.items():
            if name in kinds:
                is_several = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
                if not is_several and not _fits(value, kinds[name]):
                    single[name] = value = scalar(value)
                for each in value if is_several else (value,):
                    kind(name, each, kinds[name])
        if single:
            bound.arguments.update(single)
            args, kwargs = bound.args, bound.kwargs
        return target(*args, **kwargs)

    checked.__signature__ = signature  # type: ignore[attr-defined]
    return checked  # type: ignore[return-value]


def kind(name: str, value: Any, annotation: Any) -> None:
    """Raises ValueError unless a value is what an annotation stands for; see `arguments`."""
    if name == "seed" and annotation is int:
        whole(name, value, at_least=0)
    elif not _fits(value, annotation):
        raise ValueError(f"{name}={reprlib.repr(value)} must be {_words(annotation, value)}.")


def scalar(value: Any) -> Any:
    """The number in an array or tensor without dimensions; anything else, a variable too, as it is.

    Example:
        >>> scalar(np.array(3)), scalar([3])
        (3, [3])
    """
    is_single = getattr(value, "ndim", None) == 0 and not hasattr(value, "assign")
    if is_single and hasattr(value, "numpy"):
        value = value.numpy()
    return value.item() if is_single and isinstance(value, (np.ndarray, np.generic)) else value


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is what an annotation stands for."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if kind is Measured:
        return is_number(value)
    if kind in (int, float):
        return (is_whole if kind is int else is_number)(value) and abs(value) <= LARGEST
    if kind is bool:
        return isinstance(value, (bool, np.bool_))
    if kind is np.ndarray:  # tensors and variables too
        return hasattr(value, "__array__") and not isinstance(value, np.generic)
    if origin is tuple and parts[1:] != (...,):
        is_list = isinstance(value, (tuple, list)) and len(value) == len(parts)
        return is_list and all(map(_fits, value, parts))
    if origin in (tuple, list, collections.abc.Sequence, Iterable):
        if isinstance(value, (str, bytes, collections.abc.Mapping)):
            return False
        if isinstance(value, (collections.abc.Sequence, np.ndarray)) and getattr(
            value, "ndim", True
        ):
            return all(_fits(each, parts[0]) for each in value)
        return origin is Iterable and isinstance(value, Iterable)
    return isinstance(value, origin or kind)


def _words(kind: Any, value: Any = None) -> str:
    """An annotation in words, such as "a whole number or None"; why a number was refused, where its size was."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(part, value) for part in parts))
    if kind is Measured:
        return "a number"
    if kind in (int, float):
        is_huge = bool(is_number(value) and LARGEST < abs(value) < math.inf)
        return f"a {'whole' if kind is int else 'finite'} number{f', at most {LARGEST}' * is_huge}"
    if origin is tuple and parts[1:] != (...,):
        return f"({', '.join(map(_words, parts))})"
    if origin in (tuple, list, collections.abc.Sequence, Iterable):
        return "a list" if parts[0] is Any else f"a list, each {_words(parts[0])}"
    known = {
        bool: "True or False", str: "text", type(None): "None", os.PathLike: "a path",
        Callable: "a function", collections.abc.Mapping: "a dictionary", dict: "a dictionary", np.ndarray: "an array",
    }  # fmt: skip
    name = (origin or kind).__name__
    return known.get(origin or kind) or f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def shown(value: Any) -> str:
    """A value as a message shows it: short, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 a class of the user's, or a number of more digits than Python writes
        return f"<a value of type {type(value).__name__}>"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


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
    if at_most is None and less_than is None and is_number(value) and LARGEST < value < math.inf:
        at_most = LARGEST
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
    elif is_number(value) and value == math.inf and at_most is None and less_than is None:
        wanted = f"finite and {wanted}"
    raise ValueError(f"{name}={shown(value)} must be {wanted}{hint}.")


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
    largest = LARGEST_SEED if name.endswith("seed") else LARGEST
    if at_most is None and is_whole(value) and value > largest:
        at_most = largest
    if (
        is_whole(value)
        and (at_least is None or value >= at_least)
        and (at_most is None or value <= at_most)
    ):
        return
    wanted = _range(at_least, None, at_most, None)
    raise ValueError(
        f"{name}={shown(value)} must be a whole number{wanted and f', {wanted}'}{hint}."
    )


def text(name: str, value: Any) -> None:
    """Raises ValueError unless a value is text with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name}={shown(value)} must be text that is not empty.")


def single(name: str, value: Any) -> float:
    """Returns what the logs of an epoch hold as a float; raises ValueError unless it is one number."""
    try:
        return float(np.asarray(value).item())
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={reprlib.repr(value)} in the logs must be one number.") from error


def counts(of: Any, *names: str, at_least: int = 0) -> None:
    """Raises ValueError unless each of an object's attributes of these names is a whole number, or None."""
    for name in names:
        if getattr(of, name) is not None:
            whole(name, getattr(of, name), at_least=at_least)


def array(name: str, value: Any, *, more_than: float = -math.inf) -> np.ndarray:
    """Returns numbers as an array; raises ValueError unless each is finite and within bounds."""
    try:
        found = np.asarray(value)
    except ValueError:  # of lists of different lengths
        found = np.empty(0, object)
    is_numeric = np.issubdtype(found.dtype, np.floating) or np.issubdtype(found.dtype, np.integer)
    if not (is_numeric and found.size and np.all((abs(found) <= LARGEST) & (found > more_than))):
        bound = f"more than {more_than:g} and " if more_than > -math.inf else ""
        shown = reprlib.repr(value)
        raise ValueError(f"{name} must be {bound}finite numbers everywhere, got {name}={shown}.")
    return found


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
    same_type = [c for c in choices if isinstance(c, bool) == isinstance(value, bool)]
    if isinstance(value, np.ndarray) or value not in same_type:  # True is 1 for `in`
        raise ValueError(f"{name}={shown(value)} must be one of {', '.join(map(repr, choices))}.")


def _range(
    at_least: float | None, more_than: float | None, at_most: float | None, less_than: float | None
) -> str:
    """The bounds in words, such as "at least 0 and less than 1"."""
    if at_least is not None and at_most is not None:
        return f"between {_digits(at_least)} and {_digits(at_most)}"
    bounds = {
        "at least": at_least,
        "more than": more_than,
        "at most": at_most,
        "less than": less_than,
    }
    return " and ".join(
        f"{word} {_digits(bound)}" for word, bound in bounds.items() if bound is not None
    )


def _digits(bound: float) -> str:
    """A bound as a person would write it."""
    return str(bound) if is_whole(bound) else f"{bound:g}"


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
