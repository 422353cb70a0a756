"""MNIST from its four original IDX files, compressed or not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from tflbt import checks
from tflbt.data.sets.archives import folders, opened, require_labels, required_file
from tflbt.data.sets.image_data import ImageData

_SPLITS = {"train": "train", "test": "t10k"}
_EXPECTED = (
    "MNIST's four files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte "
    "and t10k-labels-idx1-ubyte (raw, .gz or .xz; a dot before 'idx' will do)"
)
_UNSIGNED_BYTE = 0x08  # the IDX code of the only element type MNIST uses
_MOST_BYTES = 2**30  # above any set in this format (EMNIST: 0.64e9); a damaged header may say 2^96


@checks.arguments
def load_mnist(data_dir: str | Path | None) -> ImageData:
    """Loads MNIST (LeCun et al. 1998), or another data set in its format, such as Fashion-MNIST.

    Args:
        data_dir: The folder with the files, or with a folder `mnist` that holds them.

    Returns:
        60,000 training and 10,000 test images of shape `[28, 28, 1]`, 10 classes.

    Raises:
        ValueError: If `data_dir` is None, or a file is not what its name says.
        OSError: If a file is missing, truncated or damaged.

    Example:
        >>> load_mnist(None)
        Traceback (most recent call last):
        ...
        ValueError: data_dir is not given. It should hold MNIST's four files ...
    """
    places = folders(data_dir, ["mnist"], _EXPECTED)
    arrays = {}
    for split, prefix in _SPLITS.items():
        images_path, labels_path = (
            required_file(places, [f"{prefix}-{kind}{mark}ubyte" for mark in marks], _EXPECTED)
            for kind, marks in (("images", ("-idx3-", ".idx3-")), ("labels", ("-idx1-", ".idx1-")))
        )
        images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
        if len(images) != len(labels):
            raise ValueError(
                f"{images_path} holds {len(images)} images but {labels_path} {len(labels)} labels."
            )
        require_labels(labels_path, labels, range(10))
        arrays[f"x_{split}"] = images[..., np.newaxis]
        arrays[f"y_{split}"] = labels.astype(np.int64)
    return ImageData(**arrays, classes=10, name="mnist")


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Reads one IDX file of unsigned bytes, raw or packed, checking its magic number, sizes and length.

    The format: the bytes 0, 0, the element type (8) and the number of dimensions d, here 3 for images and 1 for labels;
    d big-endian 32-bit sizes; the elements, the last dimension fastest.

    Raises:
        ValueError: If the file has not this format.
    """
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    expected = f"an IDX file of unsigned bytes with {dimensions} dimension(s)"
    with opened(path, expected) as stream:
        header = stream.read(4 + 4 * dimensions)
        if header[:4] != magic or len(header) < 4 + 4 * dimensions:
            raise ValueError(
                f"{path} begins with 0x{header[:4].hex()}, not 0x{magic.hex()}: it should be {expected}."
            )
        shape = tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
        size = math.prod(shape)
        elements = stream.read(min(size, _MOST_BYTES) + 1)
    if len(elements) != size:
        length = "more" if len(elements) > size else f"only {len(elements):,}"
        raise ValueError(
            f"{path} is truncated or damaged: its header says {shape}, {size:,} bytes, but it "
            f"holds {length}. It should be {expected}."
        )
    return np.frombuffer(elements, np.uint8).reshape(shape)
