"""One job at a time writes into a directory: a lock that disappears with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import weakref
from pathlib import Path

from absl import logging

from tflbt.runs import atomic_file

_locks: weakref.WeakValueDictionary[Path, DirectoryLock] = weakref.WeakValueDictionary()


class DirectoryLock:
    """The lock of a directory, held for as long as the object lives; `hold` returns it.

    It is a POSIX lock on a hidden file, which NFS and Lustre support too and which a killed job leaves to the next. On
    a file system without locks there is a warning and no lock. A copy on another rank (pickled) is None.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / ".lock"
        # A link could lead to any file; a pipe would wait for a reader.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with atomic_file.naming(path, "cannot make the lock"):
            self._file = os.open(path, flags, 0o666)
        release = weakref.finalize(self, os.close, self._file)
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                logging.warning("%s: no lock here (%s): start one job at a time.", directory, error)
                return
            holder = os.pread(self._file, 200, 0).decode("utf-8", "replace").strip()
            raise BlockingIOError(
                errno.EAGAIN,
                f"another job ({holder or 'unknown'}) is writing here; wait until it ends, or end it",
                str(directory),
            ) from None
        release.detach()
        weakref.finalize(self, _release, self._file)
        # Without space for the holder's name, the lock works all the same.
        with contextlib.suppress(OSError):
            _write(self._file, f"process {os.getpid()} on {socket.gethostname()}\n")

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Pickles to None: a lock belongs to its process."""
        return type(None), ()


def _release(file: int) -> None:
    """Frees a directory; the file stays, empty, for other jobs that want the lock."""
    with contextlib.suppress(OSError):
        _write(file, "")
    os.close(file)


def _write(file: int, holder: str) -> None:
    """Writes who holds the lock; nothing into a file that has another name, too (a hard link to somebody's file)."""
    if os.fstat(file).st_nlink <= 1:
        os.ftruncate(file, 0)
        os.pwrite(file, holder.encode(), 0)


def hold(directory: str | os.PathLike[str]) -> DirectoryLock:
    """Takes the lock of a directory, or returns the lock that this process already has.

    The directory is free again when the last reference to the lock is gone. A BlockingIOError names the host and the
    process of another holder.
    """
    path = Path(directory).resolve()
    lock = _locks.get(path)
    if lock is None:
        lock = _locks[path] = DirectoryLock(path)
    return lock
