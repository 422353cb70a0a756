"""Writes a file so that a kill at any moment leaves the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Replaces the file at `path` by `content`, whole or not at all.

    The content goes to a hidden file beside the target, is flushed to the disk, and takes the
    target's name in one step (`os.replace`). What a kill leaves behind is the hidden file, which
    the next write uses again.

    Args:
        path: The file to write; its folder must exist.
        content: Text (written as UTF-8, newlines as they are) or bytes.

    Raises:
        OSError: If the file cannot be written (no permission, no space); the error names `path`,
            and the file that was there is untouched.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> write(target, "kept whole")
        >>> target.read_text()
        'kept whole'
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.partial")
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise naming(error, target, "cannot write") from error


def naming(error: OSError, path: str | os.PathLike[str], what: str) -> OSError:
    """Returns an error of the same kind as `error` that says `what` failed, and for which path.

    Args:
        error: The error the system gave.
        path: The path the user knows, which the system's error may not mention.
        what: What was tried, such as ``"cannot write"``.

    Returns:
        An `OSError` of the kind that belongs to the error number (`PermissionError`, ...).

    Example:
        >>> str(naming(OSError(28, "No space left on device"), "runs/a", "cannot write"))
        "[Errno 28] cannot write: No space left on device: 'runs/a'"
    """
    reason = error.strerror or str(error)
    if error.errno is None:
        return OSError(f"{what}: {reason}: {os.fspath(path)!r}")
    return OSError(error.errno, f"{what}: {reason}", os.fspath(path))
