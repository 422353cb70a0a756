"""`ImageData`, the form of every image set in memory: uint8 images, int64 labels, two splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tflbt import checks


@checks.arguments
@dataclass(frozen=True)
class ImageData:
    """A labelled image data set, whole and unscaled.

    Samples that are not images, such as mushrooms, have height and width 1, and their features as channels.

    Attributes:
        x_train: uint8 images of shape `[N, height, width, channels]`.
        y_train: int64 labels of shape `[N]`, 0 .. classes - 1.
        x_test: uint8 images of shape `[M, height, width, channels]`.
        y_test: int64 labels of shape `[M]`.
        classes: Number of classes.
        name: The name by which it was loaded.

    Raises:
        ValueError: If shapes, data types or labels do not fit together.

    Example:
        >>> x, y = np.zeros([2, 8, 8, 1], np.uint8), np.array([0, 1])
        >>> ImageData(x, y, x, y, classes=2, name="two").image_shape
        (8, 8, 1)
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    name: str

    def __post_init__(self) -> None:
        """Checks that the four arrays fit together."""
        checks.counts(self, "classes", at_least=1)
        for split in ("train", "test"):
            x, y = getattr(self, f"x_{split}"), getattr(self, f"y_{split}")
            if x.dtype != np.uint8 or x.ndim != 4:
                raise ValueError(f"x_{split} must be uint8 [N, H, W, C], got {x.dtype} {x.shape}.")
            if y.dtype != np.int64 or y.shape != x.shape[:1]:
                raise ValueError(f"y_{split} must be int64 [{len(x)}], got {y.dtype} {y.shape}.")
            if len(y) and not 0 <= y.min() <= y.max() < self.classes:
                raise ValueError(
                    f"y_{split} must be in 0 .. {self.classes - 1}, got {y.min()} .. {y.max()}."
                )
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise ValueError(
                f"x_train and x_test must have images of one shape, got {self.x_train.shape[1:]} "
                f"and {self.x_test.shape[1:]}."
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.x_train.shape[1:]
        return height, width, channels

    def some_training_images(
        self, count: int, rank: int = 0, size: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first `count` training images and their labels; of several ranks, this one's share of them."""
        return self.x_train[rank:count:size], self.y_train[rank:count:size]
