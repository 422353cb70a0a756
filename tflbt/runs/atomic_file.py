"""Writes a file so that a kill at any moment leaves the old or the new content, whole, or adds to its end."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Replaces the file at `path` by text (as UTF-8, newlines kept) or bytes, whole or not at all.

    The content goes to a hidden file beside the target, is flushed to the disk, and takes the target's name in one step
    (`os.replace`). A kill can leave only the hidden file, which the next write replaces. Neither name is followed where
    it is a symbolic link.

    Raises:
        OSError: If the file cannot be written; names `path`, where the old file is untouched.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.partial")
    data = content.encode("utf-8") if isinstance(content, str) else content
    with naming(target, "cannot write"):
        try:
            with open(_new(partial), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise


def extend(path: str | os.PathLike[str], content: str) -> None:
    """Writes text (as UTF-8) at the end of a file, and flushes it to the disk; what was there stays as it is.

    A kill can leave a part of the new text. The name is not followed where it is a symbolic link.

    Raises:
        OSError: If it cannot be written; names `path`, which is as it was.
    """
    with naming(path, "cannot write"):
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path, flags), "ab", buffering=0) as file:
            size, data = os.fstat(file.fileno()).st_size, memoryview(content.encode("utf-8"))
            try:
                while data:
                    data = data[file.write(data) :]
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), size)
                raise


def unshare(path: str | os.PathLike[str]) -> None:
    """Gives a file that has further names (hard links, as of `cp -al`) a copy of its own, before it is changed."""
    with contextlib.suppress(FileNotFoundError):
        about = os.lstat(path)
        if stat.S_ISREG(about.st_mode) and about.st_nlink > 1:
            write(path, Path(path).read_bytes())


def _new(path: Path) -> int:
    """Returns the descriptor of a file that was not there before, whatever had its name."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o666)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str], failure: str) -> Iterator[None]:
    """Makes a system error inside, which keeps its kind, say what failed, and for which path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno is None:
            raise OSError(f"{failure}: {reason}: {os.fspath(path)!r}") from error
        raise OSError(error.errno, f"{failure}: {reason}", os.fspath(path)) from error
