"""Finding and reading a data set's original files: raw, gzip or xz.

A file that cannot be read, or whose compressed stream is damaged, raises an `OSError` that names the file and says
what it should be, whatever the decompressor raised. Files are read to their end, where gzip and xz have their sums.
"""

from __future__ import annotations

import contextlib
import gzip
import lzma
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from absl import logging

_OPENERS: dict[str, Any] = {"": open, ".gz": gzip.open, ".xz": lzma.open}
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError)
_MOST_BYTES = 2**26  # of a file of text, or one image; a small compressed file may say terabytes


def folders(data_dir: str | Path | None, names: Sequence[str], expected: str) -> list[Path]:
    """Returns the folders in which a data set may be, `data_dir` first; `expected` tells what these should hold."""
    looked_in = f"It should hold {expected}, directly or in its " + ", ".join(names) + "."
    if data_dir is None or not str(data_dir).strip():
        raise ValueError(f"data_dir is not given. {looked_in}")
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise NotADirectoryError(f"data_dir {root} is not a directory. {looked_in}")
    return [root, *(root / name for name in names if (root / name).is_dir())]


def required_file(
    places: Sequence[Path], names: Sequence[str], expected: str, packed: bool = True
) -> Path:
    """Returns the first of the names that is a file in one of the places, raw or `packed` as `.gz` or `.xz`.

    Raises:
        FileNotFoundError: If there is none.
    """
    endings = _OPENERS if packed else [""]
    paths = [place / f"{n}{ending}" for place in places for n in names for ending in endings]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        forms = " (raw, .gz or .xz)" if packed else ""
        raise FileNotFoundError(
            f"There is no {names[0]}{forms} in {', '.join(map(str, places))}. The folder should hold {expected}."
        )
    return path


def require_labels(where: str | Path, labels: np.ndarray, known: range, more: str = "") -> None:
    """Raises ValueError if a label is none of the known ones; names the first, and the file or data set."""
    wrong = labels[~np.isin(labels, known)]
    if len(wrong):
        raise ValueError(
            f"{where} holds the label {wrong[0]}; it should be {known[0]} .. {known[-1]}{more}."
        )


def warn_if_other(where: str | Path, count: int, published: int) -> None:
    """Warns if a file or data set has another number of samples (or lines, or words) than the published one."""
    if count != published:
        logging.warning("%s is not the published one of %d: it has %d.", where, published, count)


@contextlib.contextmanager
def opened(path: Path, expected: str) -> Iterator[BinaryIO]:
    """Opens a file for reading; `.gz` and `.xz` are decompressed.

    Raises:
        OSError: Whatever reading a damaged file raises: names the file and says what it should be.
    """
    try:
        with _OPENERS.get(path.suffix, open)(path, "rb") as stream:
            yield stream
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"{path} is damaged or cannot be read ({reason}). It should be {expected}."
        ) from error


def read(path: Path, expected: str, most: int = _MOST_BYTES) -> bytes:
    """Reads the whole of a file of at most `most` bytes, decompressed, or raises an error that names it."""
    with opened(path, expected) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path} holds more than {most:,} bytes. It should be {expected}.")
    return content
