"""TinyImageNet from its original files, in their folder or in the zip file in which they are distributed."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt.data.sets import archives
from tflbt.data.sets.image_data import ImageData
from tflbt.data.sets.stored_images import mixed

_FOLDER = "tiny-imagenet-200"
_CLASSES, _VAL, _ANNOTATIONS = "wnids.txt", "val/images", "val/val_annotations.txt"
_EXPECTED = (
    f"TinyImageNet's {_CLASSES}, train/CLASS/images/*.JPEG, {_VAL}/*.JPEG and {_ANNOTATIONS}, or "
    f"{_FOLDER}.zip with these"
)
_COUNTS = {"train": 100_000, "val": 10_000}  # published
_SIDE = 64  # pixels
_CHUNK = 1024  # files decoded at a time
_THREADS = 16  # that read files, which is mostly waiting


@dataclass(frozen=True)
class _Files:
    """A folder of files, or a zip file."""

    place: Path  # of either, for errors
    listed: dict[str, list[str]]  # names of the files in each folder, such as "val/images"
    read: Callable[[str], bytes]  # reads a file, such as "val/images/val_0.JPEG"

    def images(self, folder: str) -> list[str]:
        """Returns the names of the JPEG files in a folder, including the folder, sorted."""
        images = (n for n in self.listed.get(folder, []) if n.lower().endswith((".jpeg", ".jpg")))
        return sorted(f"{folder}/{name}" for name in images if not name.startswith("."))

    def lines(self, name: str) -> list[str]:
        """Returns the lines of a text file that are not blank."""
        folder, _, file = name.rpartition("/")
        if file not in self.listed.get(folder, []):
            raise FileNotFoundError(f"{self.place} holds no {name}. It should hold {_EXPECTED}.")
        lines = self.read(name).decode(errors="replace").splitlines()
        return [line for line in lines if line.strip()]


def load_tiny_imagenet(data_dir: str | Path | None) -> ImageData:
    """Loads TinyImageNet (Le and Yang 2015; as in `abs-absa.txt`): 200 classes of ImageNet, 64 x 64 pixels.

    All images are decoded into memory, 1.35 GB. Damage that leaves a JPEG readable is noticed only in the zip file,
    which has checksums.

    Args:
        data_dir: The folder with the files or the zip file, or with a folder `tiny-imagenet-200` that holds them.

    Returns:
        100,000 training images of shape `[64, 64, 3]`, in one random order, always the same; for testing the 10,000
        of `val`, because the labels of the set's own test images are not published. A label is the position of the
        class in `wnids.txt`. Gray images become RGB.

    Raises:
        ValueError: If `data_dir` is None, a class or an image is unknown, not annotated or named twice, or an image
            is not of 64 x 64 pixels.
        OSError: If a file is missing or damaged, or a class has no images.

    Example:
        >>> load_tiny_imagenet(None)
        Traceback (most recent call last):
        ...
        ValueError: data_dir is not given. It should hold TinyImageNet's wnids.txt, ...
    """
    with contextlib.ExitStack() as stack:
        files = _find(archives.folders(data_dir, [_FOLDER], _EXPECTED), stack)
        labels = _labels(files)
        splits = {"train": mixed(*_training(files, labels)), "val": _validation(files, labels)}
        for split, (names, _) in splits.items():
            if len(names) != _COUNTS[split]:
                published = f"the published set of {_COUNTS[split]}"
                logging.warning("%s/%s is not %s: %d.", files.place, split, published, len(names))
        x_train, x_test = (_images(files, names.tolist()) for names, _ in splits.values())
    (_, y_train), (_, y_test) = splits.values()
    return ImageData(x_train, y_train, x_test, y_test, len(labels), "tiny_imagenet")


def _find(places: Sequence[Path], stack: contextlib.ExitStack) -> _Files:
    """Returns the files of a folder if there is one, else of a zip file, which the stack closes."""
    folder = next((place for place in places if (place / _CLASSES).is_file()), None)
    if folder is not None:
        return _in_folder(folder)
    zips = (place / f"{_FOLDER}.zip" for place in places)
    path = next((path for path in zips if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{' and '.join(map(str, places))} should hold {_EXPECTED}.")
    return _in_zip(path, stack)


def _in_folder(place: Path) -> _Files:
    folders = os.walk(place, followlinks=True)
    listed = {os.path.relpath(folder, place): names for folder, _, names in folders}
    listed[""] = listed.pop(".")

    def read(name: str) -> bytes:
        with archives.damage_named(place / name, "a file of TinyImageNet"):
            return (place / name).read_bytes()

    return _Files(place, listed, read)


def _in_zip(path: Path, stack: contextlib.ExitStack) -> _Files:
    """Returns the files in a zip file, in whichever of its folders they are."""
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
        members = archive.namelist()
    except Exception as error:  # a damaged file makes it raise almost anything
        raise _damaged(path, error) from error
    top = next((m[: -len(_CLASSES)] for m in members if f"/{m}".endswith(f"/{_CLASSES}")), None)
    if top is None:
        raise FileNotFoundError(f"{path} holds no {_CLASSES}. It should hold {_EXPECTED}.")
    listed: dict[str, list[str]] = {}
    for member in members:
        if member.startswith(top):
            folder, _, name = member[len(top) :].rpartition("/")
            listed.setdefault(folder, []).append(name)

    def read(name: str) -> bytes:
        try:
            return archive.read(f"{top}{name}")
        except Exception as error:
            raise _damaged(path / name, error) from error

    return _Files(path, listed, read)


def _damaged(path: Path, error: Exception) -> OSError:
    return OSError(f"{path} is damaged or cannot be read ({error}). It should be of TinyImageNet.")


def _labels(files: _Files) -> dict[str, int]:
    """Returns the label of each class."""
    names = [line.strip() for line in files.lines(_CLASSES)]
    if not names or len(names) != len(set(names)):
        raise ValueError(f"{files.place / _CLASSES} names no class, or one twice.")
    there = {folder.split("/")[1] for folder in files.listed if folder.startswith("train/")}
    unknown = sorted(name for name in there - set(names) if not name.startswith("."))
    if unknown:
        raise ValueError(f"{files.place}/train/{unknown[0]} is no class that {_CLASSES} names.")
    return {name: label for label, name in enumerate(names)}


def _training(files: _Files, labels: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the names and labels of the training images, class by class."""
    names = [files.images(f"train/{name}/images") for name in labels]
    for name, class_images in zip(labels, names):
        if not class_images:
            raise FileNotFoundError(
                f"{files.place}/train/{name}/images is missing or holds no JPEG; {_CLASSES} names that class."
            )
    y = np.repeat(np.arange(len(labels)), [len(class_images) for class_images in names])
    return np.array(sum(names, [])), y.astype(np.int64)


def _validation(files: _Files, labels: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images of `val` in the order of their annotations: name, class, and the four numbers of a box."""
    where, images = files.place / _ANNOTATIONS, set(files.images(_VAL))
    annotated: dict[str, int] = {}
    for number, line in enumerate(files.lines(_ANNOTATIONS), 1):
        file, _, rest = line.partition("\t")
        name, class_name = f"{_VAL}/{file}", rest.partition("\t")[0].strip()
        if class_name not in labels:
            raise ValueError(
                f"{where}, line {number}, has the class {class_name!r}, which {_CLASSES} does not name."
            )
        if name in annotated:
            raise ValueError(f"{where}, line {number}, names {file!r} again.")
        if name not in images:
            raise FileNotFoundError(
                f"{files.place / name} is missing: {where}, line {number}, names it."
            )
        annotated[name] = labels[class_name]
    bare = sorted(images - set(annotated))
    if bare or not images:
        raise ValueError(f"{where} does not name {bare[0] if bare else 'any image'}.")
    return np.array(list(annotated)), np.array(list(annotated.values()), np.int64)


def _images(files: _Files, names: list[str]) -> np.ndarray:
    """Reads and decodes images into one array."""
    images = np.empty([len(names), _SIDE, _SIDE, 3], np.uint8)
    with ThreadPoolExecutor(_THREADS) as threads:
        for first in range(0, len(names), _CHUNK):
            chunk = names[first : first + _CHUNK]
            contents = list(threads.map(files.read, chunk))
            try:
                images[first : first + _CHUNK] = _decoded(tf.constant(contents, tf.string))
            except tf.errors.InvalidArgumentError:  # it does not say which image
                for name, content in zip(chunk, contents):
                    _check(files.place / name, content)
                raise
    return images


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def _decoded(contents: tf.Tensor) -> tf.Tensor:
    shape = [_SIDE, _SIDE, 3]

    def decode(content: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.io.decode_jpeg(content, channels=3), shape)

    with tf.device("CPU:0"):
        return tf.map_fn(decode, contents, fn_output_signature=tf.TensorSpec(shape, tf.uint8))


def _check(path: Path, content: bytes) -> None:
    """Raises if this is the file that could not be decoded, or has another size."""
    try:
        height, width, _ = tf.io.decode_jpeg(content, channels=3).shape
    except tf.errors.InvalidArgumentError as error:
        raise OSError(f"{path} is damaged, or no JPEG.") from error
    if (height, width) != (_SIDE, _SIDE):
        raise ValueError(f"{path} is an image of {height} x {width} pixels, not {_SIDE} x {_SIDE}.")
