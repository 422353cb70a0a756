"""SVHN's cropped digits from their original MATLAB files."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tflbt import checks
from tflbt.data.sets import archives
from tflbt.data.sets.image_data import ImageData

_COUNTS = {"train": 73_257, "extra": 531_131, "test": 26_032}  # published
_EXPECTED = "SVHN's files train_32x32.mat, extra_32x32.mat and test_32x32.mat"
_FILE_EXPECTED = "a MATLAB file (before 7.3) with uint8 images 'X' [32, 32, 3, N] and labels 'y' [N, 1] from 1 to 10"
_MOST_BYTES = 531_131 * 3_200  # of the largest file, inflated, and more than its labels take
_COMPRESSED = 15  # MATLAB's code
_KINDS = {"char", "single", "double", *(f"{u}int{n}" for u in ("u", "") for n in (8, 16, 32, 64))}
_CHUNK = 1024  # images whose axes are exchanged at a time, so that the set is never copied


@checks.arguments
def load_svhn(data_dir: str | Path | None, parts: Sequence[str] = ("train", "extra")) -> ImageData:
    """Loads SVHN (Netzer et al. 2011), format 2: digits of house numbers, cropped.

    A file is read into memory once (1.6 GB for "extra"), where the axes are exchanged in place. Joining two parts
    takes the memory of both twice while it lasts.

    Args:
        data_dir: The folder with the files, or with a folder `svhn` that holds them.
        parts: The files to train on, in their order: "train" (73,257 images) and "extra" (531,131). The default,
            both, is what `two-phase.txt` trains on. `abs-absa.txt` and its authors' code train on "extra" alone (table
            III's 20,747 updates of 512 samples are 20 epochs of 531,131).

    Returns:
        Those training images and 26,032 test images of shape `[32, 32, 3]`, 10 classes; the label 10 of the files
        is the digit 0. The name is "svhn"; for "extra" alone it is "svhn_extra".

    Raises:
        ValueError: If `data_dir` is None, a part is unknown, or a file does not hold what it should.
        OSError: If a file is missing or damaged.

    Example:
        >>> load_svhn(None)
        Traceback (most recent call last):
        ...
        ValueError: data_dir is not given. It should hold SVHN's files train_32x32.mat, ...
    """
    if not parts or not set(parts) <= {"train", "extra"}:
        raise ValueError(f"parts={parts!r} must be of 'train' and 'extra'.")
    places = archives.folders(data_dir, ["svhn"], _EXPECTED)
    paths = {  # all, before any is read
        part: archives.required_file(places, [f"{part}_32x32.mat"], _EXPECTED, packed=False)
        for part in (*parts, "test")
    }
    training = [_read(paths[part], part) for part in parts]  # a single part is not copied
    x, y = training[0] if len(training) == 1 else map(np.concatenate, zip(*training))
    name = "svhn_extra" if tuple(parts) == ("extra",) else "svhn"
    return ImageData(x, y, *_read(paths["test"], "test"), classes=10, name=name)


def _read(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    content = _matlab(path)
    for key in ("X", "y"):
        if key not in content:
            raise ValueError(f"{path} holds no {key!r}. It should be {_FILE_EXPECTED}.")
    x, y = content.pop("X"), content.pop("y")
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (32, 32, 3) or not x.shape[3]:
        raise ValueError(f"{path} holds X {x.dtype} {x.shape}. It should be {_FILE_EXPECTED}.")
    count = x.shape[3]
    if y.shape not in ((count, 1), (1, count)) or y.dtype.kind not in "iuf":
        raise ValueError(
            f"{path} holds y {y.dtype} {y.shape} with {count:,} images. It should be {_FILE_EXPECTED}."
        )
    archives.require_labels(path, y, range(1, 11), " (10 for the digit 0)")
    archives.warn_if_other(path, count, _COUNTS[part])
    return _images(x), y.ravel().astype(np.int64) % 10


def _matlab(path: Path) -> dict[str, Any]:
    from scipy import io  # it comes with scikit-learn, and takes a while to import

    try:
        _require_bounded(path)
        for name, shape, kind in io.whosmat(path):
            if kind not in _KINDS or math.prod(shape) > _MOST_BYTES:
                raise ValueError(f"{name} is a {kind} of {shape}")
        return io.loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # a damaged file makes it raise almost anything: zlib.error, TypeError, IndexError, ...
        raise OSError(
            f"{path} is damaged or cannot be read ({error}). It should be {_FILE_EXPECTED}."
        ) from error


def _require_bounded(path: Path) -> None:
    """Inflates the elements of a MATLAB file a MiB at a time: their sums must be right and their length what a set has.

    SciPy would take the memory first. After 128 bytes, whose last two tell the order of bytes, an element is its kind
    and its length, uint32 each, and that many bytes.

    Raises:
        ValueError: If it is no MATLAB file, or is too long.
        EOFError: If it is cut off.
    """
    left = _MOST_BYTES
    with path.open("rb") as file:
        order = {b"IM": "<", b"MI": ">"}.get(file.read(128)[126:])
        if order is None:
            raise ValueError("this is no MATLAB file of version 5 to 7")
        while tag := file.read(8):
            kind, length = struct.unpack(f"{order}II", tag)
            inflate = zlib.decompressobj()
            while length:
                part = file.read(min(length, 2**20))
                if not part:
                    raise EOFError("the file is cut off")
                length -= len(part)
                left -= len(part)
                while kind == _COMPRESSED and part and left >= 0:
                    left -= len(inflate.decompress(part, 2**20))
                    part = inflate.unconsumed_tail
                if left < 0:
                    raise ValueError(f"it holds more than {_MOST_BYTES:,} bytes")
            if kind == _COMPRESSED and not inflate.eof:
                raise EOFError("a compressed element is cut off")


def _images(x: np.ndarray) -> np.ndarray:
    """Turns `[row, column, channel, N]` into `[N, row, column, channel]`, in place.

    MATLAB stores the first axis fastest, so each image is contiguous there, as `[channel, column, row]`.
    """
    stored = np.require(x.T, requirements=["C_CONTIGUOUS", "WRITEABLE"])
    for first in range(0, len(stored), _CHUNK):
        chunk = stored[first : first + _CHUNK]
        chunk.reshape(-1)[:] = chunk.transpose(0, 3, 2, 1).flatten()
    return stored.reshape(len(stored), 32, 32, 3)
