"""CIFAR-10 and CIFAR-100: the files of their binary version, or Keras's cache of its own verified download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt import checks
from tflbt.data.sets import archives
from tflbt.data.sets.image_data import ImageData

_PIXELS = 3 * 32 * 32  # bytes of an image: red, green and blue planes, row by row


@dataclass(frozen=True)
class _Edition:
    """What a CIFAR set consists of: the names of its files and their published numbers of images."""

    name: str
    classes: int
    label_bytes: int  # before each image; the last is the (fine) label
    train: dict[str, int]  # file: images
    test: dict[str, int]
    folders: tuple[str, ...]
    archive: str  # that Keras downloads

    @property
    def files(self) -> dict[str, int]:
        return {**self.train, **self.test}

    @property
    def record(self) -> int:
        return self.label_bytes + _PIXELS

    @property
    def expected(self) -> str:
        return f"the files {', '.join(self.files)} of {self.folders[0]}-binary.tar.gz, unpacked (raw, .gz or .xz)"


_CIFAR10 = _Edition(
    name="cifar10",
    classes=10,
    label_bytes=1,
    train={f"data_batch_{number}.bin": 10_000 for number in range(1, 6)},
    test={"test_batch.bin": 10_000},
    folders=("cifar-10", "cifar-10-batches-bin"),
    archive="cifar-10-batches-py.tar.gz",
)
_CIFAR100 = _Edition(
    name="cifar100",
    classes=100,
    label_bytes=2,
    train={"train.bin": 50_000},
    test={"test.bin": 10_000},
    folders=("cifar-100", "cifar-100-binary"),
    archive="cifar-100-python.tar.gz",
)


@checks.arguments
def load_cifar10(data_dir: str | Path | None) -> ImageData:
    """Loads CIFAR-10 (Krizhevsky, 2009).

    Args:
        data_dir: The folder with the files of the binary version, or with a folder `cifar-10` or
            `cifar-10-batches-bin` that holds them. None: what `tf.keras.datasets.cifar10.load_data()` has downloaded
            once, whose sum Keras checks; nothing is downloaded here, where all ranks would at once.

    Returns:
        50,000 training and 10,000 test images of shape `[32, 32, 3]`, 10 classes.

    Raises:
        ValueError: If there is no `data_dir` and no such download, or a file is not what its name says.
        OSError: If a file is missing or its compressed stream is damaged.

    Example:
        >>> load_cifar10("")
        Traceback (most recent call last):
        ...
        ValueError: data_dir is not given. It should hold the files data_batch_1.bin, ...
    """
    return _load(data_dir, _CIFAR10)


@checks.arguments
def load_cifar100(data_dir: str | Path | None) -> ImageData:
    """Loads CIFAR-100 (Krizhevsky, 2009) with its 100 fine labels.

    Args:
        data_dir: The folder with the files of the binary version, or with a folder `cifar-100` or `cifar-100-binary`
            that holds them. None: as in `load_cifar10`.

    Returns:
        50,000 training and 10,000 test images of shape `[32, 32, 3]`, 100 classes.

    Raises:
        ValueError: If there is no `data_dir` and no such download, or a file is not what its name says.
        OSError: If a file is missing or its compressed stream is damaged.
    """
    return _load(data_dir, _CIFAR100)


def _load(data_dir: str | Path | None, edition: _Edition) -> ImageData:
    if data_dir is None:
        if (Path.home() / ".keras" / "datasets" / edition.archive).is_file():
            return _of_keras(edition)
        data_dir = ""
    hint = (
        f"{edition.expected}; or let tf.keras.datasets.{edition.name}.load_data() download it once and leave data_dir "
        "out (the Python version is a pickle, which could run anything: it is not read)"
    )
    places = archives.folders(data_dir, edition.folders, hint)
    paths = {name: archives.required_file(places, [name], hint) for name in edition.files}
    records = {name: _records(path, edition, name) for name, path in paths.items()}
    _check_counts(records, edition, paths)
    train, test = (
        _samples([records[n] for n in names], edition) for names in (edition.train, edition.test)
    )
    return ImageData(*train, *test, classes=edition.classes, name=edition.name)


def _of_keras(edition: _Edition) -> ImageData:
    """Returns the set as Keras reads it from its cache."""
    try:
        splits = getattr(tf.keras.datasets, edition.name).load_data()
    except Exception as error:  # of another sum, it would download the archive again
        raise OSError(
            f"tf.keras.datasets.{edition.name} cannot be read ({error}): remove {edition.archive} from Keras's cache "
            "and download it again, or name a data_dir."
        ) from error

    def arrays(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = x if x.shape[-1] == 3 else x.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(x), y.reshape(-1).astype(np.int64)

    train, test = (arrays(*split) for split in splits)
    return ImageData(*train, *test, classes=edition.classes, name=edition.name)


def _records(path: Path, edition: _Edition, name: str) -> np.ndarray:
    """Reads one file: uint8 `[n, record]`; errors name it and say what it should be."""
    expected = (
        f"{edition.files[name] * edition.record:,} bytes: {edition.files[name]:,} records of {edition.label_bytes} "
        f"label byte(s) and {_PIXELS:,} pixel bytes"
    )
    content = archives.read(path, expected, edition.files[name] * edition.record)
    count, left = divmod(len(content), edition.record)
    if left or not count:
        raise ValueError(
            f"{path} is truncated or damaged: it holds {len(content):,} bytes. It should be {expected}."
        )
    records = np.frombuffer(content, np.uint8).reshape(count, edition.record)
    labels, known = records[:, edition.label_bytes - 1], range(edition.classes)
    archives.require_labels(path, labels, known, f". It should be {expected}")
    return records


def _check_counts(
    records: dict[str, np.ndarray], edition: _Edition, paths: dict[str, Path]
) -> None:
    """Refuses a file that was cut between two records; accepts a set that is smaller in every file, with a warning."""
    counts = {name: len(part) for name, part in records.items()}
    short = [name for name, count in counts.items() if count != edition.files[name]]
    if short and len(short) < len(counts):
        name = short[0]
        raise ValueError(
            f"{paths[name]} is truncated or damaged: it holds {counts[name]:,} images and should hold "
            f"{edition.files[name]:,}."
        )
    if short:
        logging.warning("%s is not the published set: %s.", edition.name, counts)


def _samples(parts: list[np.ndarray], edition: _Edition) -> tuple[np.ndarray, np.ndarray]:
    """Turns records, joined in order, into images with channels last, `[n, 32, 32, 3]`, and labels."""
    records = np.concatenate(parts)
    planes = records[:, edition.label_bytes :].reshape(-1, 3, 32, 32)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return images, records[:, edition.label_bytes - 1].astype(np.int64)
