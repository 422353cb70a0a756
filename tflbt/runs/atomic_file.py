"""Writes a file so that a kill at any moment leaves the old or the new content, whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Replaces the file at `path` by text (as UTF-8) or bytes, whole or not at all.

    The content goes to a hidden file beside the target, is flushed to the disk, and takes the target's name in one step
    (`os.replace`). A kill can leave only the hidden file, which the next write uses again.

    Args:
        path: The file to write; its folder must exist.
        content: Text, whose newlines are kept, or bytes.

    Raises:
        OSError: If the file cannot be written (no permission, no space); the error names `path`, and the old file is
            untouched.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.partial")
    data = content.encode("utf-8") if isinstance(content, str) else content
    with naming(target, "cannot write"):
        try:
            with open(partial, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise


@contextlib.contextmanager
def naming(path: str | os.PathLike[str], failure: str) -> Iterator[None]:
    """Makes a system error inside say what failed, and for which path.

    Raises:
        OSError: Of the kind that belongs to the error number (`PermissionError`, ...).

    Example:
        >>> with naming("runs/a", "cannot write"):
        ...     raise OSError(28, "No space left on device")
        Traceback (most recent call last):
        ...
        OSError: [Errno 28] cannot write: No space left on device: 'runs/a'
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno is None:
            raise OSError(f"{failure}: {reason}: {os.fspath(path)!r}") from error
        raise OSError(error.errno, f"{failure}: {reason}", os.fspath(path)) from error
