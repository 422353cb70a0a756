"""The two formats of a CIFAR file: binary records, and a Python 2 pickle that is opened safely."""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO

import numpy as np

PIXELS = 3 * 32 * 32  # bytes of an image: red, green and blue planes, row by row
_PICKLE_OVERHEAD = 64 * 2**20  # bytes a pickle may need beside the pixels: labels and file names

# The only globals a pickled NumPy array or byte string names; nothing else is ever looked up.
_ALLOWED = {
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", np.empty(0).__reduce__()[0]),
            ("numeric", "_frombuffer", np.empty(0).__reduce_ex__(5)[0]),
        )
    },
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
}


def parse_binary(
    stream: BinaryIO, label_bytes: int, most: int, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Parses at most `most` records of label byte(s), the last of which counts, and 3,072 bytes of pixels in planes."""
    record = label_bytes + PIXELS
    content = stream.read(most * record + 1)
    count, left = divmod(len(content), record)
    if len(content) > most * record:
        raise ValueError(f"holds more than {most * record:,} bytes")
    if left or not count:
        raise ValueError(f"is truncated or damaged: it holds {len(content):,} bytes")
    records = np.frombuffer(content, np.uint8).reshape(count, record)
    labels = _checked(records[:, label_bytes - 1].astype(np.int64), classes)
    return _images(records[:, label_bytes:]), labels


def parse_pickle(
    stream: BinaryIO, label_key: str, most: int, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Parses a pickled dict of "data" and labels, whose keys are bytes or text; no class but NumPy's is looked up."""
    batch = _unpickled(stream, most * PIXELS + _PICKLE_OVERHEAD)
    data, labels = batch.get("data"), batch.get(label_key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (PIXELS,):
        raise ValueError(f"holds no uint8 'data' of shape [n, {PIXELS}]")
    if not isinstance(labels, (list, np.ndarray)) or len(labels) != len(data) or not len(data):
        raise ValueError(f"holds no list '{label_key}' with a label for each image")
    if len(data) > most:
        raise ValueError(f"holds {len(data):,} images, more than {most:,}")
    return _images(data), _checked(np.asarray(labels, np.int64), classes)


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that knows NumPy arrays and built-in containers and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Looks a global up among those that are allowed."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a data file") from None


def _unpickled(stream: BinaryIO, limit: int) -> dict[str, Any]:
    """Loads a dict of at most `limit` bytes, with text for keys; whatever is wrong with it is a ValueError."""
    content = _Limited(stream, limit)
    try:
        batch = _ArraysOnly(content, encoding="bytes").load()
        items = batch.items()
        if content.read(1):  # reading the end makes gzip and xz check their sums
            raise ValueError("more bytes after the pickle's end")
    except OSError:
        raise  # the medium or the compression, not the pickle: the caller names it
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(f"is truncated or damaged ({error})") from error
    return {key.decode() if isinstance(key, bytes) else key: value for key, value in items}


class _Limited:
    """A stream that refuses to yield more than a number of bytes, so that a small file cannot fill the memory."""

    def __init__(self, stream: BinaryIO, limit: int):
        self._stream = stream
        self._left = limit

    def read(self, size: int = -1) -> bytes:
        """Reads up to `size` bytes."""
        most = self._left + 1
        return self._counted(self._stream.read(min(size, most) if size >= 0 else most))

    def readline(self) -> bytes:
        """Reads a line."""
        return self._counted(self._stream.readline(self._left + 1))

    def _counted(self, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            raise ValueError("larger than the published file")
        return content


def _images(rows: np.ndarray) -> np.ndarray:
    """Turns planes, `[n, 3072]`, into images with channels last, `[n, 32, 32, 3]`."""
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _checked(labels: np.ndarray, classes: int) -> np.ndarray:
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"holds the label {labels.max()}, not 0 .. {classes - 1}")
    return labels
