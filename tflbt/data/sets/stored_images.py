"""`StoredImages`, a data set whose images stay on disk and are read when their turn in an epoch comes.

Memory holds only their names, which are shuffled, dealt to ranks and resumed like any other array
(`tflbt.data.sharding`); the transforms `StoredImages.random_crops` and `StoredImages.centre_crops` read a sub-batch's
images. Each kind of storage is a class that says how a name becomes an image's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.data.reading import Reader
from tflbt.data.sets import image_files
from tflbt.data.sharding import epoch_order
from tflbt.data.transforms.random_resized_crop import DRAW, Range


@checks.arguments
@dataclass(frozen=True)
class StoredImages:
    """A labelled data set of stored images: names and labels, and how the images are read.

    This class reads a file for each image. Its kinds are `tflbt.data.ImageFolder` and `tflbt.data.ImageRecords`.

    Attributes:
        root: The folder that the names are relative to.
        x_train: Names of the training images, bytes `[N]`.
        y_train: int64 labels `[N]`.
        x_test: Names of the held-out images, bytes `[M]`.
        y_test: int64 labels `[M]`.
        class_names: The classes' names in the folders or files; a label is a position in this tuple.
        image_size: Side of the crops in pixels, at least 1.
        name: The name by which it was loaded.
        crop_area: Least and largest area of a random crop, as shares of the image's, above 0, at most 1.
        crop_aspect: Least and largest width over height of a random crop, above 0.
        crop_draw: How a random crop is drawn, "op" (TensorFlow's, default) or "area" (torchvision's); see
            `tflbt.data.RandomResizedCrop`.

    Raises:
        ValueError: If the size is below 1 or a range of the crops is not as above.

    Example:
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
    crop_area: Range = image_files.AREA
    crop_aspect: Range = image_files.ASPECT
    crop_draw: str = "op"

    def __post_init__(self) -> None:
        """Checks the arguments of the crops."""
        for name in self.class_names or ("",):
            if not name:
                raise ValueError(
                    f"class_names={self.class_names!r} must be names, one for each class."
                )
        check_crops(self.image_size, self.crop_area, self.crop_aspect)
        for x, y in ((self.x_train, self.y_train), (self.x_test, self.y_test)):
            if x.ndim != 1 or x.shape != y.shape:
                raise ValueError(
                    f"x_train, y_train, x_test, y_test must be names and as many labels, not {x.shape} and {y.shape}."
                )
        checks.one_of("crop_draw", self.crop_draw, DRAW)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels of the crops."""
        return self.image_size, self.image_size, 3

    @property
    def random_crops(self) -> Reader:
        """Transform of (names, seeds) for training: see `tflbt.data.sets.image_files.random_crops`."""
        crops = (self.image_size, self.crop_area, self.crop_aspect, self.contents, self.crop_draw)
        return image_files.random_crop_reader(self._paths, *crops)

    @property
    def resized_random_crops(self) -> Reader:
        """Transform of (names, seeds) for training: see `tflbt.data.sets.image_files.resized_random_crops`."""
        return image_files.resized_random_crop_reader(self._paths, self.image_size, self.contents)

    @property
    def centre_crops(self) -> Reader:
        """Transform of names for evaluation: see `tflbt.data.sets.image_files.centre_crops`."""
        return image_files.centre_crop_reader(self._paths, self.image_size, self.contents)

    def some_training_images(
        self, count: int, rank: int = 0, size: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first `count` training images, read in float32 as evaluation sees them, and their labels.

        Of several ranks, this one reads its share: every size-th, from that of its number on.
        """
        chosen = slice(rank, count, size)
        with image_files.unreadable_named():
            return self.centre_crops(self.x_train[chosen]).numpy(), self.y_train[chosen]

    @staticmethod
    def contents(path: tf.Tensor) -> tf.Tensor:
        """Reads the bytes of one image, whose path begins with the root."""
        return tf.io.read_file(path)

    def _paths(self, names: tf.Tensor) -> tf.Tensor:
        return tf.strings.join([str(self.root), names], separator="/")


def check_crops(image_size: int, area: Range, aspect: Range = image_files.ASPECT) -> None:
    """Checks the arguments of the crops (see `StoredImages`) before a large set is searched."""
    checks.whole("image_size", image_size, at_least=1)
    image_files.check_ranges(area, aspect, prefix="crop_")


def mixed(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns samples and labels in one random order, always the same, so that the first are of many classes."""
    order = epoch_order(len(x), seed=0, epoch=0)
    return x[order], y[order]
