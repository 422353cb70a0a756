"""Reads a directory that somebody may have sent: no link leads out of it, and sizes are bounded before it is read.

Such a directory is data: it says what was trained and how, and has no power over what this process does elsewhere.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

MOST_BYTES = 64 * 2**20  # of a text file; a metrics.csv of 10,000 epochs and 100 columns has 20 MB
MOST_JSON_BYTES = 8 * 2**20  # plain values take some 30 times as much memory
MOST_NESTING = 100  # dictionaries and lists in one another


def place(path: str | os.PathLike[str]) -> Path:
    """Returns a path that a person gave, a leading `~` as the home directory; "" is nothing and not where we stand.

    Raises:
        ValueError: If it is empty, as an unset variable in a shell makes it, or no system can have such a name.

    Example:
        >>> place("")
        Traceback (most recent call last):
        ...
        ValueError: path='' is empty: name a directory ('.' is the one where you are).
    """
    text = os.fspath(path)
    if not text.strip():
        raise ValueError(
            f"path={text!r} is empty: name a directory ('.' is the one where you are)."
        )
    if "\0" in text:
        raise ValueError(f"path={text!r} has a NUL character, which no file's name can have.")
    return Path(os.path.expanduser(text))


def require_contained(root: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Refuses a directory if one of these files and folders in it, or anything in them, is a symbolic link out of it.

    Writing would follow it, and change what has nothing to do with this directory. Nothing need be there, and what else
    is there does not matter.

    Raises:
        ValueError: If there is such a link; names it.
    """
    root = os.fspath(root)
    inside = os.path.join(os.path.realpath(root), "")
    for link in (link for name in names for link in _links(os.path.join(root, name))):
        to = os.path.realpath(link)
        if not to.startswith(inside):
            raise ValueError(
                f"{link} is a symbolic link that leads out of {root}, to {to}: nothing is written there. "
                "Remove the link, or put what it leads to in its place."
            )


def _links(path: str) -> Iterator[str]:
    """The symbolic links among a path and all that is below it; none is followed."""
    if os.path.islink(path):
        yield path
        return
    for here, folders, files in os.walk(path):
        below = (os.path.join(here, name) for name in (*folders, *files))
        yield from filter(os.path.islink, below)


def read(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """Reads a regular file of at most `most` bytes.

    Raises:
        ValueError: If it is larger.
        OSError: If it cannot be read, or is a pipe, a device or a folder; names it.
    """
    name = os.fspath(path)
    # A pipe would wait for somebody to write.
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "this is no regular file", name)
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(
            f"{name} is damaged: it has more than {most:,} bytes, the most of such a file."
        )
    return content


def parse_json(text: str | bytes) -> Any:
    """Returns what a JSON text says.

    Raises:
        ValueError: If it is no JSON, or nested too deeply; says so without a name.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {MOST_NESTING} deep") from None
    level = [content]
    for _ in range(MOST_NESTING):
        dictionaries = (value.values() for value in level if isinstance(value, dict))
        lists = (value for value in level if isinstance(value, list))
        level = [
            value
            for values in (*dictionaries, *lists)
            for value in values
            if isinstance(value, (dict, list))
        ]
        if not level:
            return content
    raise ValueError(f"it is nested more than {MOST_NESTING} deep")


def read_json(path: str | os.PathLike[str], most: int = MOST_JSON_BYTES) -> dict[str, Any]:
    """Reads a dictionary from a JSON file; a ValueError names the file if it holds none."""
    try:
        content = parse_json(read(path, most).decode("utf-8"))
    except ValueError as error:
        name, reason = os.fspath(path), str(error)
        if reason.startswith(name):
            raise
        raise ValueError(f"{name} is damaged: {reason}. Restore it from a copy.") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{os.fspath(path)} is damaged: it holds no dictionary. Restore it from a copy."
        )
    return content
