"""ImageNet, and any data set that is a folder of image files for each class.

``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``: the sorted names of the class folders are the labels 0, 1, ... What
is held in memory are the files' names; they are shuffled, dealt to ranks and resumed like any other array
(`tflbt.data.sharding`), and a sub-batch's files are read when its turn comes: `ImageFolder.random_crops` and
`ImageFolder.centre_crops` are the transforms that do it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tflbt.data import archives, image_files
from tflbt.data.sharding import epoch_order

ENDINGS = (".jpeg", ".jpg", ".png")  # in small or capital letters
EXPECTED = "the folders train/CLASS and val/CLASS of JPEG or PNG files"


@dataclass(frozen=True)
class ImageFolder:
    """A labelled data set of image files: names and labels, and how the files are read.

    Attributes:
        root: The folder that holds ``train`` and ``val``.
        x_train: Names of the training files relative to `root`, bytes ``[N]``, such as
            ``train/n01440764/n01440764_10026.JPEG``, in one random order, always the same, so that the first (or
            last) samples are of many classes.
        y_train: int64 labels ``[N]``.
        x_test: Names of the held-out files, bytes ``[M]``, sorted.
        y_test: int64 labels ``[M]``.
        class_names: Names of the class folders; a label is a position here.
        image_size: Side of the crops in pixels.
        name: The name it was loaded by.
    """

    root: Path
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    image_size: int
    name: str

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels of the crops."""
        return self.image_size, self.image_size, 3

    def random_crops(self, names: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """A transform for training: see `tflbt.data.image_files.random_crops`."""
        return image_files.random_crops(self._paths(names), seeds, self.image_size)

    def centre_crops(self, names: tf.Tensor, seeds: tf.Tensor | None = None) -> tf.Tensor:
        """A transform for evaluation: see `tflbt.data.image_files.centre_crops`."""
        del seeds
        return image_files.centre_crops(self._paths(names), self.image_size)

    def some_training_images(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads the first `count` training images, as evaluation sees them.

        Args:
            count: At least 1.

        Returns:
            float32 images ``[n, height, width, 3]``, 0 .. 255, and int64 labels.

        Raises:
            OSError: When a file cannot be read.
        """
        with image_files.unreadable_named():
            return self.centre_crops(self.x_train[:count]).numpy(), self.y_train[:count]

    def _paths(self, names: tf.Tensor) -> tf.Tensor:
        return tf.strings.join([str(self.root), names], separator="/")


def load_image_folder(
    data_dir: str | Path | None, image_size: int = 224, name: str = "imagenet"
) -> ImageFolder:
    """Lists a data set of class folders.

    Args:
        data_dir: The folder that holds ``train`` and ``val``, or holds a folder `name` that does.
        image_size: Side of the crops in pixels, at least 1.
        name: Name of the data set.

    Returns:
        Names and labels; no file has been opened. Names that start with a dot or do not end as an image's do
        are left out.

    Raises:
        ValueError: When `data_dir` is not given, `image_size` is below 1, or ``val`` does not have the classes of
            ``train``.
        OSError: When a folder is missing or a class has no training image.

    Example:
        >>> import pathlib, tempfile
        >>> from tflbt.data.image_folder import load_image_folder
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for file in ("train/cat/1.JPEG", "train/dog/2.JPEG", "val/cat/3.JPEG", "val/dog/4.JPEG"):
        ...     (root / file).parent.mkdir(parents=True)
        ...     (root / file).touch()
        >>> load_image_folder(root).x_test.tolist()
        [b'val/cat/3.JPEG', b'val/dog/4.JPEG']
    """
    if image_size < 1:
        raise ValueError(f"image_size={image_size} must be at least 1.")
    candidates = archives.folders(data_dir, [name], EXPECTED)
    root = next((folder for folder in candidates if (folder / "train").is_dir()), None)
    if root is None or not (root / "val").is_dir():
        at = root or " and ".join(map(str, candidates))
        raise FileNotFoundError(f"{at} should hold {EXPECTED}, but there is no train or no val.")
    train, val = (_files_by_class(root, split) for split in ("train", "val"))
    if set(train) != set(val):
        differing = sorted(set(train) ^ set(val))
        raise ValueError(
            f"{root}/train and {root}/val must have folders of the same names, one a class; {len(differing)} are in "
            f"one only, such as {differing[0]!r}. (ImageNet's validation files come without folders: sort them first.)"
        )
    empty = next((class_name for class_name, names in train.items() if not names), None)
    if empty is not None or not any(val.values()):
        at = f"train/{empty}" if empty is not None else "val"
        raise FileNotFoundError(f"{root}/{at} holds no image: it should hold {', '.join(ENDINGS)}.")
    names, labels = _arrays(train)
    order = epoch_order(len(names), seed=0, epoch=0)
    return ImageFolder(
        root, names[order], labels[order], *_arrays(val), tuple(train), image_size, name
    )


def _files_by_class(root: Path, split: str) -> dict[str, list[str]]:
    """Names of the images in each class folder, sorted, as every rank must have the same order."""
    with os.scandir(root / split) as entries:
        classes = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    return {class_name: _images(root, f"{split}/{class_name}") for class_name in classes}


def _images(root: Path, folder: str) -> list[str]:
    names = (name for name in os.listdir(root / folder) if not name.startswith("."))
    return sorted(f"{folder}/{name}" for name in names if name.lower().endswith(ENDINGS))


def _arrays(files: dict[str, list[str]]) -> tuple[np.ndarray, np.ndarray]:
    names = [os.fsencode(name) for of_class in files.values() for name in of_class]
    counts = [len(of_class) for of_class in files.values()]
    return np.array(names), np.repeat(np.arange(len(files), dtype=np.int64), counts)
