"""TinyImageNet from its original files, unzipped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.data.sets import archives
from tflbt.data.sets.image_data import ImageData
from tflbt.data.sets.image_folder import image_names
from tflbt.data.sets.stored_images import mixed

_FOLDER = "tiny-imagenet-200"
_CLASSES, _VAL, _ANNOTATIONS = "wnids.txt", "val/images", "val/val_annotations.txt"
_EXPECTED = (
    f"TinyImageNet's {_CLASSES}, train/CLASS/images/*.JPEG, {_VAL}/*.JPEG and {_ANNOTATIONS} "
    f"({_FOLDER}.zip, unzipped)"
)
_FILE = "a file of TinyImageNet"
_COUNTS = {"train": 100_000, "val": 10_000}  # published
_SIDE = 64  # pixels
_THREADS = 16  # that read and decode files


@checks.arguments
def load_tiny_imagenet(data_dir: str | Path | None) -> ImageData:
    """Loads TinyImageNet (Le and Yang 2015; as in `abs-absa.txt`): 200 classes of ImageNet, 64 x 64 pixels.

    All images are decoded into memory, 1.35 GB. Damage that leaves a JPEG readable is not noticed.

    Args:
        data_dir: The folder with the files, or with a folder `tiny-imagenet-200` that holds them.

    Returns:
        100,000 training images of shape `[64, 64, 3]`, in one random order, always the same; for testing the 10,000
        of `val`, because the labels of the set's own test images are not published. A label is the position of the
        class in `wnids.txt`. Gray images become RGB.

    Raises:
        ValueError: If `data_dir` is None, a class or an image is unknown, not annotated or named twice, or an image
            is not of 64 x 64 pixels.
        FileNotFoundError: If a file is missing, or a class has no images.
        OSError: If a file is damaged.

    Example:
        >>> load_tiny_imagenet(None)
        Traceback (most recent call last):
        ...
        ValueError: data_dir is not given. It should hold TinyImageNet's wnids.txt, ...
    """
    places = archives.folders(data_dir, [_FOLDER], _EXPECTED)
    root = next((place for place in places if (place / _CLASSES).is_file()), None)
    if root is None:
        raise FileNotFoundError(f"{' and '.join(map(str, places))} should hold {_EXPECTED}.")
    labels = _labels(root)
    splits = {"train": mixed(*_training(root, labels)), "val": _validation(root, labels)}
    for split, (names, _) in splits.items():
        archives.warn_if_other(f"{root}/{split}", len(names), _COUNTS[split])
    x_train, x_test = (_images(root, names.tolist()) for names, _ in splits.values())
    (_, y_train), (_, y_test) = splits.values()
    return ImageData(x_train, y_train, x_test, y_test, len(labels), "tiny_imagenet")


def _lines(root: Path, name: str) -> list[str]:
    """Returns the lines of a text file that are not blank."""
    if not (root / name).is_file():
        raise FileNotFoundError(f"{root} holds no {name}. It should hold {_EXPECTED}.")
    text = archives.read(root / name, _FILE).decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()]


def _labels(root: Path) -> dict[str, int]:
    """Returns the label of each class."""
    names = [line.strip() for line in _lines(root, _CLASSES)]
    if not names or len(names) != len(set(names)):
        raise ValueError(f"{root / _CLASSES} names no class, or one twice.")
    train = root / "train"
    there = {path.name for path in train.iterdir() if path.is_dir()} if train.is_dir() else set()
    unknown = sorted(name for name in there - set(names) if not name.startswith("."))
    if unknown:
        raise ValueError(f"{root}/train/{unknown[0]} is no class that {_CLASSES} names.")
    return {name: label for label, name in enumerate(names)}


def _training(root: Path, labels: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the names and labels of the training images, class by class."""
    names = [image_names(root, f"train/{name}/images") for name in labels]
    for name, class_images in zip(labels, names):
        if not class_images:
            raise FileNotFoundError(
                f"{root}/train/{name}/images is missing or holds no JPEG; {_CLASSES} names that class."
            )
    y = np.repeat(np.arange(len(labels)), [len(class_images) for class_images in names])
    return np.array(sum(names, [])), y.astype(np.int64)


def _validation(root: Path, labels: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images of `val` in the order of their annotations: name, class, and the four numbers of a box."""
    where, images = root / _ANNOTATIONS, set(image_names(root, _VAL))
    annotated: dict[str, int] = {}
    for number, line in enumerate(_lines(root, _ANNOTATIONS), 1):
        file, _, rest = line.partition("\t")
        name, class_name = f"{_VAL}/{file}", rest.partition("\t")[0].strip()
        if class_name not in labels:
            raise ValueError(
                f"{where}, line {number}, has the class {class_name!r}, which {_CLASSES} does not name."
            )
        if name in annotated:
            raise ValueError(f"{where}, line {number}, names {file!r} again.")
        if name not in images:
            raise FileNotFoundError(f"{root / name} is missing: {where}, line {number}, names it.")
        annotated[name] = labels[class_name]
    bare = sorted(images - set(annotated))
    if bare or not images:
        raise ValueError(f"{where} does not name {bare[0] if bare else 'any image'}.")
    return np.array(list(annotated)), np.array(list(annotated.values()), np.int64)


def _images(root: Path, names: list[str]) -> np.ndarray:
    """Reads and decodes images into one array."""
    images = np.empty([len(names), _SIDE, _SIDE, 3], np.uint8)

    def read(place: int) -> None:
        images[place] = _image(root / names[place])

    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(read, range(len(names))):
            pass
    return images


def _image(path: Path) -> np.ndarray:
    """Reads and decodes one image."""
    content = archives.read(path, _FILE)
    try:
        with tf.device("CPU:0"):
            height, width, _ = tf.image.extract_jpeg_shape(content).numpy()  # it may say gigabytes
            if (height, width) != (_SIDE, _SIDE):
                raise ValueError(
                    f"{path} is an image of {height} x {width} pixels, not {_SIDE} x {_SIDE}."
                )
            return tf.io.decode_jpeg(content, channels=3).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise OSError(f"{path} is damaged, or no JPEG.") from error
