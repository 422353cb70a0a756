"""Finding and reading a data set's original files: raw, gzip, xz, or inside a tar.

A file that cannot be read, or whose compressed stream is damaged, raises an `OSError` that names the file and says
what it should be, whatever the decompressor raised.
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
    """Returns the folders in which a data set may be, `data_dir` first; `expected` tells what these should hold."""
    looked_in = f"It should hold {expected}, directly or in its " + ", ".join(names) + "."
    if data_dir is None or not str(data_dir).strip():
        raise ValueError(f"data_dir is not given. {looked_in}")
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise NotADirectoryError(f"data_dir {root} is not a directory. {looked_in}")
    return [root, *(root / name for name in names if (root / name).is_dir())]


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Returns the first of the names that is a file, as it stands or with `.gz` or `.xz` added; None without one."""
    paths = (folder / f"{name}{ending}" for name in names for ending in _OPENERS)
    return next((path for path in paths if path.is_file()), None)


def required_file(places: Sequence[Path], names: Sequence[str], expected: str) -> Path:
    """Returns the first of the names that is a file in one of the places, raw, `.gz` or `.xz`; raises without one."""
    path = next((path for place in places if (path := find_file(place, names))), None)
    if path is None:
        raise FileNotFoundError(
            f"There is no {names[0]} (raw, .gz or .xz) in {', '.join(map(str, places))}. "
            f"The folder should hold {expected}."
        )
    return path


def find_tars(folder: Path, prefix: str) -> list[Path]:
    """Returns the tar files in a folder whose names start with a prefix such as "cifar-10-", sorted."""
    paths = (path for path in folder.glob(f"{prefix}*") if path.name.endswith(_TAR_ENDINGS))
    return sorted(path for path in paths if path.is_file())


@contextlib.contextmanager
def opened(path: Path, expected: str) -> Iterator[BinaryIO]:
    """Opens a file for reading; `.gz` and `.xz` are decompressed. Damage is reported by `damage_named`."""
    with damage_named(path, expected), _OPENERS.get(path.suffix, open)(path, "rb") as stream:
        yield stream


def tar_members(path: Path, names: Sequence[str]) -> Iterator[tuple[str, BinaryIO]]:
    """Streams the named files out of a tar in their stored order; read a stream before taking the next pair."""
    with tarfile.open(path, "r|*") as tar:
        for member in tar:
            name = Path(member.name).name
            if member.isfile() and name in names:
                yield name, tar.extractfile(member)  # type: ignore[misc]


@contextlib.contextmanager
def damage_named(path: Path, expected: str) -> Iterator[None]:
    """Turns whatever reading a damaged file raises into an `OSError` that names the file and says what it should be."""
    try:
        yield
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"{path} is damaged or cannot be read ({reason}). It should be {expected}."
        ) from error
