"""Finding and reading a data set's original files: raw, gzip, xz, or inside a tar.

A file that cannot be read, or whose compressed stream is damaged, is an `OSError` naming it and
says what it should be, whatever the decompressor raised.
"""

from __future__ import annotations

import contextlib
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

_OPENERS: dict[str, Any] = {"": open, ".gz": gzip.open, ".xz": lzma.open}
_TAR_ENDINGS = (".tar", ".tar.gz", ".tar.xz", ".tgz", ".txz")
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


def folders(data_dir: str | Path | None, names: Sequence[str], expected: str) -> list[Path]:
    """Lists the folders in which a data set may be: `data_dir` itself, then its sub-folders.

    Args:
        data_dir: The folder a user gave.
        names: Names of sub-folders to look in.
        expected: What the folder should hold, for the error.

    Returns:
        Those of the folders that exist, `data_dir` first.

    Raises:
        ValueError: If `data_dir` is None.
        NotADirectoryError: If it is not a folder.

    Example:
        >>> from tflbt.data.sets.archives import folders
        >>> folders(".", ["no-such-folder"], "files")
        [PosixPath('.')]
    """
    looked_in = f"It should hold {expected}, directly or in its " + ", ".join(names) + "."
    if data_dir is None:
        raise ValueError(f"data_dir is not given. {looked_in}")
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise NotADirectoryError(f"data_dir {root} is not a directory. {looked_in}")
    return [root, *(root / name for name in names if (root / name).is_dir())]


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Finds the first of the names, as it stands or with `.gz` or `.xz` added.

    Args:
        folder: Where to look.
        names: File names, the preferred one first.

    Returns:
        The path, or None when there is none.

    Example:
        >>> from pathlib import Path
        >>> from tflbt.data.sets.archives import find_file
        >>> find_file(Path("."), ["no-such-file"]) is None
        True
    """
    paths = (folder / f"{name}{ending}" for name in names for ending in _OPENERS)
    return next((path for path in paths if path.is_file()), None)


def find_tars(folder: Path, prefix: str) -> list[Path]:
    """Lists the tar files in a folder whose names start with a prefix, sorted.

    Args:
        folder: Where to look.
        prefix: Start of the names, such as "cifar-10-".

    Returns:
        Paths that end in .tar, .tar.gz, .tar.xz, .tgz or .txz.

    Example:
        >>> from pathlib import Path
        >>> from tflbt.data.sets.archives import find_tars
        >>> find_tars(Path("."), "no-such-")
        []
    """
    found = (path for path in folder.glob(f"{prefix}*") if path.name.endswith(_TAR_ENDINGS))
    return sorted(path for path in found if path.is_file())


@contextlib.contextmanager
def opened(path: Path, expected: str) -> Iterator[BinaryIO]:
    """Opens a file for reading, decompressed by its ending.

    Args:
        path: The file; `.gz` and `.xz` are decompressed as they are read.
        expected: What the file should be, for the error.

    Yields:
        A binary stream. Damage met while reading it is reported as below.

    Raises:
        OSError: If the file is missing, unreadable or damaged.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from tflbt.data.sets.archives import opened
        >>> path = Path(tempfile.mkdtemp(), "file.gz")
        >>> _ = path.write_bytes(gzip.compress(b"abc"))
        >>> with opened(path, "three letters") as stream:
        ...     stream.read()
        b'abc'
    """
    opener = _OPENERS[path.suffix if path.suffix in _OPENERS else ""]
    with damage_named(path, expected), opener(path, "rb") as stream:
        yield stream


def tar_members(path: Path, names: Sequence[str]) -> Iterator[tuple[str, BinaryIO]]:
    """Streams chosen files out of a tar, in the order they are stored, without unpacking it.

    Args:
        path: The tar, compressed or not.
        names: Wanted file names, without folders.

    Yields:
        Pairs of (name without folders, binary stream); read a stream before taking the next pair.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from tflbt.data.sets.archives import tar_members
        >>> path = Path(tempfile.mkdtemp(), "files.tar")
        >>> tarfile.open(path, "w").close()
        >>> list(tar_members(path, ["wanted"]))
        []
    """
    with tarfile.open(path, "r|*") as tar:
        for member in tar:
            name = Path(member.name).name
            if member.isfile() and name in names:
                yield name, tar.extractfile(member)  # type: ignore[misc]


@contextlib.contextmanager
def damage_named(path: Path, expected: str) -> Iterator[None]:
    """Makes whatever reading a damaged file raises an `OSError` that names the file.

    Args:
        path: The file being read.
        expected: What it should be, for the error.

    Yields:
        Nothing.

    Raises:
        OSError: If the body met a missing, unreadable or damaged file.

    Example:
        >>> from pathlib import Path
        >>> from tflbt.data.sets.archives import damage_named
        >>> with damage_named(Path("a.gz"), "a text"):
        ...     gzip.decompress(b"neither")
        Traceback (most recent call last):
        ...
        OSError: a.gz is damaged or cannot be read (...). It should be a text.
    """
    try:
        yield
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"{path} is damaged or cannot be read ({reason}). It should be {expected}."
        ) from error
