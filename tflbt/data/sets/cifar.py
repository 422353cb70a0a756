"""CIFAR-10 and CIFAR-100 from their original files: the binary or the Python version, packed or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging

from tflbt.data.sets import archives
from tflbt.data.sets.cifar_records import PIXELS, parse_binary, parse_pickle
from tflbt.data.sets.image_data import ImageData


@dataclass(frozen=True)
class _Edition:
    """What a CIFAR set consists of: the names of its files and their published numbers of images."""

    name: str
    classes: int
    label_bytes: int  # before each binary record; the last is the (fine) label
    label_key: str  # of the Python version
    train: dict[str, int]  # file: images
    test: dict[str, int]
    folders: tuple[str, ...]
    tar_prefix: str

    @property
    def files(self) -> dict[str, int]:
        return {**self.train, **self.test}

    @property
    def expected(self) -> str:
        return (
            f"the files {', '.join(self.files)} of {self.tar_prefix}binary (with .bin) or {self.tar_prefix}python, "
            "raw, .gz or .xz, or either's unopened tar"
        )

    def file_expected(self, name: str, binary: bool) -> str:
        if not binary:
            return f"a pickled dict of uint8 'data' [n, {PIXELS}] and a list '{self.label_key}'"
        record = self.label_bytes + PIXELS
        return (
            f"{self.files[name] * record:,} bytes: {self.files[name]:,} records of "
            f"{self.label_bytes} label byte(s) and {PIXELS:,} pixel bytes"
        )


_CIFAR10 = _Edition(
    name="cifar10",
    classes=10,
    label_bytes=1,
    label_key="labels",
    train={f"data_batch_{number}": 10_000 for number in range(1, 6)},
    test={"test_batch": 10_000},
    folders=("cifar-10", "cifar-10-batches-bin", "cifar-10-batches-py"),
    tar_prefix="cifar-10-",
)
_CIFAR100 = _Edition(
    name="cifar100",
    classes=100,
    label_bytes=2,
    label_key="fine_labels",
    train={"train": 50_000},
    test={"test": 10_000},
    folders=("cifar-100", "cifar-100-binary", "cifar-100-python"),
    tar_prefix="cifar-100-",
)


def load_cifar10(data_dir: str | Path | None) -> ImageData:
    """Loads CIFAR-10 (Krizhevsky, 2009).

    Args:
        data_dir: The folder with the files, or with a folder `cifar-10`, `cifar-10-batches-bin` or
            `cifar-10-batches-py` that holds them.

    Returns:
        50,000 training and 10,000 test images of shape `[32, 32, 3]`, 10 classes.

    Raises:
        ValueError: If `data_dir` is None, or a file is not what its name says.
        OSError: If a file is missing or its compressed stream is damaged.

    Example:
        >>> load_cifar10(None)
        Traceback (most recent call last):
        ...
        ValueError: data_dir is not given. It should hold the files data_batch_1, ...
    """
    return _load(data_dir, _CIFAR10)


def load_cifar100(data_dir: str | Path | None) -> ImageData:
    """Loads CIFAR-100 (Krizhevsky, 2009) with its 100 fine labels.

    Args:
        data_dir: The folder with the files, or with a folder `cifar-100`, `cifar-100-binary` or `cifar-100-python`
            that holds them.

    Returns:
        50,000 training and 10,000 test images of shape `[32, 32, 3]`, 100 classes.

    Raises:
        ValueError: If `data_dir` is None, or a file is not what its name says.
        OSError: If a file is missing or its compressed stream is damaged.
    """
    return _load(data_dir, _CIFAR100)


def _load(data_dir: str | Path | None, edition: _Edition) -> ImageData:
    places = archives.folders(data_dir, edition.folders, edition.expected)
    for place in places:
        parts = _read_files(place, edition) or _read_tar(place, edition)
        if parts:
            _check_counts(parts, edition, place)
            x_train, y_train = _joined(parts, edition.train)
            x_test, y_test = _joined(parts, edition.test)
            return ImageData(x_train, y_train, x_test, y_test, edition.classes, edition.name)
    raise FileNotFoundError(
        f"There is no {edition.name} in {', '.join(map(str, places))}: looked for {edition.expected}."
    )


_Parts = dict[str, "tuple[np.ndarray, np.ndarray]"]


def _read_files(place: Path, edition: _Edition) -> _Parts:
    """Reads the version whose files are here; returns {} if there are none."""
    for ending in (".bin", ""):
        paths = {name: archives.find_file(place, [name + ending]) for name in edition.files}
        if not any(paths.values()):
            continue
        parts = {}
        for name, path in paths.items():
            expected = edition.file_expected(name, bool(ending))
            if path is None:
                raise FileNotFoundError(
                    f"{place / (name + ending)} (raw, .gz or .xz) is missing beside the others "
                    f"of {edition.name}. It should be {expected}."
                )
            with archives.opened(path, expected) as stream:
                parts[name] = _parse(stream, edition, name, bool(ending), str(path))
        return parts
    return {}


def _read_tar(place: Path, edition: _Edition) -> _Parts:
    """Reads the set's first tar here; returns {} if there is none."""
    path = next(iter(archives.find_tars(place, edition.tar_prefix)), None)
    if path is None:
        return {}
    parts = {}
    members = [name + ending for name in edition.files for ending in (".bin", "")]
    expected = f"a tar of {edition.tar_prefix}binary or {edition.tar_prefix}python"
    with archives.damage_named(path, expected):
        for member, stream in archives.tar_members(path, members):
            name = member.removesuffix(".bin")
            parts[name] = _parse(stream, edition, name, member != name, f"{path}:{member}")
    missing = [name for name in edition.files if name not in parts]
    if missing:
        raise FileNotFoundError(
            f"{path} has no {', '.join(missing)} (or .bin). It should hold {edition.expected}."
        )
    return parts


def _parse(
    stream, edition: _Edition, name: str, binary: bool, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Reads one file; errors name it and say what it should be."""
    try:
        if binary:
            return parse_binary(stream, edition.label_bytes, edition.files[name], edition.classes)
        return parse_pickle(stream, edition.label_key, edition.files[name], edition.classes)
    except ValueError as error:
        expected = edition.file_expected(name, binary)
        raise ValueError(f"{source} {error}. It should be {expected}.") from error


def _check_counts(parts: _Parts, edition: _Edition, place: Path) -> None:
    """Refuses a file that was cut between two records; accepts a set that is smaller in every file, with a warning."""
    counts = {name: len(labels) for name, (_, labels) in parts.items()}
    short = [name for name, count in counts.items() if count != edition.files[name]]
    if short and len(short) < len(counts):
        name = short[0]
        raise ValueError(
            f"{name} in {place} is truncated or damaged: it holds {counts[name]:,} images and "
            f"should hold {edition.files[name]:,}."
        )
    if short:
        logging.warning("%s in %s is not the published set: %s.", edition.name, place, counts)


def _joined(parts: _Parts, names: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Joins files in order, freeing the memory of each as it is copied."""
    chosen = [parts.pop(name) for name in names]
    labels = np.concatenate([part[1] for part in chosen])
    images = np.empty([len(labels), 32, 32, 3], np.uint8)
    first = 0
    while chosen:
        part, _ = chosen.pop(0)
        images[first : first + len(part)] = part
        first += len(part)
    return images, labels
