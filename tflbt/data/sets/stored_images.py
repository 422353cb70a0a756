"""Images that stay where they are stored, and are read when their turn in an epoch comes.

What is held in memory are their names; they are shuffled, dealt to ranks and resumed like any other array
(`tflbt.data.sharding`), and a sub-batch's images are read by the transforms `StoredImages.random_crops` and
`StoredImages.centre_crops`. A kind of storage is a class that says how a name becomes an image's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tflbt.data.sets import image_files
from tflbt.data.sharding import epoch_order


@dataclass(frozen=True)
class StoredImages:
    """A labelled data set of stored images: names and labels, and how the images are read.

    This one reads a file for each image; `tflbt.data.ImageFolder` and `tflbt.data.ImageRecords` are the kinds there
    are.

    Attributes:
        root: The folder that the names are relative to.
        x_train: Names of the training images, bytes `[N]`.
        y_train: int64 labels `[N]`.
        x_test: Names of the held-out images, bytes `[M]`.
        y_test: int64 labels `[M]`.
        class_names: What the folders or files call the classes; a label is a position here.
        image_size: Side of the crops in pixels, at least 1.
        name: The name it was loaded by.
        crop_area: Least and largest area of a random crop, as shares of the image's, above 0, at most 1.
        crop_aspect: Least and largest width over height of a random crop, above 0.

    Raises:
        ValueError: If the size or a crop's range is out of its own.

    Example:
        >>> import numpy as np
        >>> from tflbt.data.sets.stored_images import StoredImages
        >>> x, y = np.array([b"1.JPEG", b"2.JPEG"]), np.array([0, 1])
        >>> StoredImages(Path("."), x, y, x, y, ("cat", "dog"), 224, "pets").image_shape
        (224, 224, 3)
    """

    root: Path
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    image_size: int
    name: str
    crop_area: tuple[float, float] = image_files.AREA
    crop_aspect: tuple[float, float] = image_files.ASPECT

    def __post_init__(self) -> None:
        """Checks what the crops are to be."""
        check_crops(self.image_size, self.crop_area, self.crop_aspect)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels of the crops."""
        return self.image_size, self.image_size, 3

    def random_crops(self, names: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """A transform for training: see `tflbt.data.sets.image_files.random_crops`."""
        return image_files.random_crops(
            self._paths(names),
            seeds,
            self.image_size,
            self.crop_area,
            self.crop_aspect,
            self.contents,
        )

    def resized_random_crops(self, names: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """A transform for training: see `tflbt.data.sets.image_files.resized_random_crops`."""
        return image_files.resized_random_crops(
            self._paths(names), seeds, self.image_size, self.contents
        )

    def centre_crops(self, names: tf.Tensor, seeds: tf.Tensor | None = None) -> tf.Tensor:
        """A transform for evaluation: see `tflbt.data.sets.image_files.centre_crops`."""
        del seeds
        return image_files.centre_crops(self._paths(names), self.image_size, self.contents)

    def some_training_images(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads the first `count` training images, as evaluation sees them.

        Args:
            count: At least 1.

        Returns:
            float32 images `[n, height, width, 3]`, 0 .. 255, and int64 labels.

        Raises:
            OSError: If an image cannot be read.
        """
        with image_files.unreadable_named():
            return self.centre_crops(self.x_train[:count]).numpy(), self.y_train[:count]

    @staticmethod
    def contents(path: tf.Tensor) -> tf.Tensor:
        """Reads the bytes of one image, given its name with the root before it."""
        return tf.io.read_file(path)

    def _paths(self, names: tf.Tensor) -> tf.Tensor:
        return tf.strings.join([str(self.root), names], separator="/")


def check_crops(
    image_size: int,
    area: tuple[float, float] = image_files.AREA,
    aspect: tuple[float, float] = image_files.ASPECT,
) -> None:
    """Checks how images are to be cropped, before a large set is looked through.

    Args:
        image_size: As of `StoredImages`.
        area: As `crop_area` there.
        aspect: As `crop_aspect` there.

    Raises:
        ValueError: If one is out of its range.

    Example:
        >>> from tflbt.data.sets.stored_images import check_crops
        >>> check_crops(0)
        Traceback (most recent call last):
        ...
        ValueError: image_size=0 must be at least 1.
    """
    if image_size < 1:
        raise ValueError(f"image_size={image_size} must be at least 1.")
    image_files.check_ranges(area, aspect)


def mixed(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Puts samples in one random order, always the same, so that the first (or last) ones are of many classes.

    Args:
        x: Samples `[N, ...]`.
        y: Labels `[N]`.

    Returns:
        Copies of both in that order.

    Example:
        >>> import numpy as np
        >>> from tflbt.data.sets.stored_images import mixed
        >>> x, y = mixed(np.arange(100), np.arange(100) // 50)
        >>> (x // 50 == y).all(), y[:10].tolist()
        (True, [1, 0, 0, 0, 1, 0, 1, 1, 1, 1])
    """
    order = epoch_order(len(x), seed=0, epoch=0)
    return x[order], y[order]
