"""Runs the Python file that a flag names: whatever it raises, or ends, is one line that names its file and line."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from typing import Any

from tflbt import checks
from tflbt.distributed.errors import frames, one_line
from tflbt.runs import received


class UserFileError(ValueError):
    """What a user's file raised, with its file and line."""


@contextlib.contextmanager
def running(file: str) -> Iterator[None]:
    """Turns whatever a user's file raises into a UserFileError; Ctrl-C alone passes."""
    try:
        yield
    except (KeyboardInterrupt, UserFileError):
        raise
    except BaseException as error:  # an end of the process too: the file is no command
        raise UserFileError(_where(file, error)) from error


def _where(file: str, error: BaseException) -> str:
    """The file and line where an error arose, what kind it is unless a ValueError, and its message."""
    text = one_line(error)
    kind = type(error).__name__
    if type(error) is not ValueError and text != kind:
        text = f"{kind}: {text}"
    elif text.startswith(file):
        return text
    if isinstance(error, SystemExit):
        text = f"it ends the process, by {text}"
    if isinstance(error, SyntaxError):
        return f"{file}: {text}"
    places = [frame.place for frame in frames(error) if frame.owner == "user"]
    return f"{(places or [file])[-1]}: {text}"


def named(words: str) -> tuple[str, tuple[str, ...]]:
    """Returns the file that "FILE:NAME" or "FILE" names, and the name, if any; the file's folders may have a colon.

    Example:
        >>> named("a:b/digits.py:lars"), named("a:b/best.json"), named("digits.py:")
        (('a:b/digits.py', ('lars',)), ('a:b/best.json', ()), ('digits.py', ('',)))
    """
    file, colon, name = words.rpartition(":")
    whole = not colon or words.endswith((".py", ".json")) or "/" in name
    path = os.path.expanduser(words if whole else file)
    return path, () if whole else (name,)


@checks.arguments
def read_function(file: str, name: str, what: str) -> Callable[..., Any]:
    """Returns the function `name` of a Python file that a flag names.

    `what` the file should be, a "recipe" or a "space", is for the messages.

    Raises:
        ValueError: If it is no Python file, raises anything, or has no such function; names the file.
        OSError: If the file cannot be read.
    """
    try:
        source = received.read(file)
    except OSError as error:
        raise type(error)(error.errno, f"the {what} cannot be read", file) from error
    spec = importlib.util.spec_from_file_location(f"tflbt_{what}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is no {what}: it must be a Python file whose name ends in .py.")
    module = importlib.util.module_from_spec(spec)
    with running(file):
        # Not by the loader, whose cached byte code outlives a change of the file within the same second.
        exec(compile(source, file, "exec"), module.__dict__)
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{file} is no {what}: it has no function {name}.")
    return function
