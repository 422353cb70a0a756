"""Where the records of TFRecord files begin, and their labels: tf.data reads every record once, and a cache keeps both.

A record takes 16 bytes beside its data, whose CRC tf.data checks. The cache is in `~/.cache/tflbt` (or
`$XDG_CACHE_HOME/tflbt`), for files of these names, sizes and times of change.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging

_AROUND = 16  # bytes of a record that are not its data: length, CRC of the length, CRC of the data
_FILES_AT_A_TIME = 16  # where storage is slow, waiting takes longer than reading
_ROWS = 4096  # records that come from tf.data at a time
_BUFFER = 2**20  # bytes read at a time
Index = tuple[np.ndarray, np.ndarray]


def index_records(
    paths: Sequence[Path],
    key: str = "image/class/label",
    expected: str = "TFRecords of tf.train.Example",
) -> list[Index]:
    """Finds the records of files, which are read whole once, and later not at all.

    Args:
        paths: The files.
        key: The feature that is the label: one int64.
        expected: What the files should be, for errors.

    Returns:
        For each file, int64 `[n]` each, the byte at which each record begins, and its label.

    Raises:
        ValueError: If a file is empty, or a record is no `tf.train.Example` with one such feature.
        OSError: If a file is damaged, cut off, compressed, or cannot be read.
    """
    about = [(os.path.abspath(path), os.stat(path)) for path in paths]
    sizes = [stat.st_size for _, stat in about]
    names = [key, *((name, stat.st_size, stat.st_mtime_ns) for name, stat in about)]
    with _cache(json.dumps(names)) as cache:
        found = None if cache is None else _cached(cache, sizes)
        if found is None:
            with ThreadPoolExecutor(_FILES_AT_A_TIME) as threads:
                found = list(threads.map(lambda path: _scan(path, key, expected), paths))
            if cache is not None:
                _keep(cache, found)
    return [(np.cumsum(lengths) - lengths, labels) for lengths, labels in found]


def _scan(path: Path, key: str, expected: str) -> Index:
    """Returns the bytes that each record of a file takes there, and its label."""
    feature = {key: tf.io.FixedLenFeature([], tf.int64)}

    def measured(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.strings.length(record), tf.io.parse_single_example(record, feature)[key]

    records = tf.data.TFRecordDataset(os.fspath(path), buffer_size=_BUFFER)
    try:
        rows = list(records.map(measured).batch(_ROWS).as_numpy_iterator())
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError) as error:  # TensorFlow quotes it
        raise ValueError(
            f"{path} has a record that is no tf.train.Example with one int64 {key!r}. It should be {expected}."
        ) from error
    except tf.errors.OpError as error:
        reason = error.message.partition(" [Op:")[0]
        raise OSError(
            f"{path} is damaged, cut off or compressed ({reason}). It should be {expected}."
        ) from error
    none = (np.zeros([0], np.int64),) * 2
    lengths, labels = map(np.concatenate, zip(none, *rows))
    lengths = lengths + _AROUND
    end, size = int(lengths.sum()), os.path.getsize(path)
    if end < size:  # tf.data takes less than a header for the end
        raise OSError(
            f"{path} is damaged, cut off or compressed (its records end at byte {end:,} of {size:,}). It should be "
            f"{expected}."
        )
    if not size:
        raise ValueError(f"{path} is empty. It should be {expected}.")
    return lengths, labels


@contextlib.contextmanager
def _cache(names: str) -> Iterator[Path | None]:
    """Gives the file that caches an index; other ranks of this host wait meanwhile. None where there can be none."""
    digest = hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tflbt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "records.lock", "w")  # noqa: SIM115 (closed below)
    except OSError as error:
        logging.warning("%s: the index of TFRecord files is not kept (%s).", folder, error)
        yield None
        return
    with lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.lockf(lock, fcntl.LOCK_EX)
        yield folder / f"records_{digest[:32]}.npz"


def _cached(cache: Path, sizes: Sequence[int]) -> list[Index] | None:
    """Returns the index in a cache, if there is one of files of these sizes."""
    try:
        with np.load(cache) as arrays:
            counts, *columns = (arrays[name] for name in ("counts", "lengths", "labels"))
        lengths, labels = (np.split(column, np.cumsum(counts)[:-1]) for column in columns)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return list(zip(lengths, labels)) if [part.sum() for part in lengths] == sizes else None


def _keep(cache: Path, found: Sequence[Index]) -> None:
    """Writes a cache, whole or not at all."""
    draft = cache.with_suffix(".draft.npz")
    lengths, labels = map(np.concatenate, zip(*found))
    try:
        np.savez(draft, counts=[len(part) for part, _ in found], lengths=lengths, labels=labels)
        os.replace(draft, cache)
    except OSError as error:
        logging.warning("%s: the index of TFRecord files is not kept (%s).", cache, error)
