"""Standardisation of images by the training set's statistics, as in the two-phase paper, A.2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tflbt import checks

MODES = ("per_pixel", "per_channel", "divide_255", "imagenet")
# Means and deviations of the channels over ImageNet's training set, for pixels in 0 .. 1, as torchvision has them.
_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_WHITE = np.float32(255)
_CHUNK = 1024  # images squared at a time, so that the set is never copied


@checks.arguments
@dataclass(frozen=True)
class Standardize:
    """Maps images x to `(x - mean) / scale` in float32.

    Like the other transforms it takes seeds, but ignores them.

    x, `mean` and `scale` are in grey levels, 0 .. 255. `pixel_mean` and `pixel_scale` are the same values for pixels
    scaled to [0, 1], the scale in which `FGSM.epsilon` is given: with pixels `x / 255`, the model gets
    `(pixels - pixel_mean) / pixel_scale`, and its valid inputs are `-pixel_mean / pixel_scale .. (1 - pixel_mean) /
    pixel_scale`. (White is 16 in the digits, so their pixels end at 16 / 255.)

    Attributes:
        mean: float32 `[height, width, channels]` (mode "per_pixel"), `[channels]` ("per_channel" and "imagenet") or
            `[1]`, a zero ("divide_255").
        scale: float32 of the same shape, above 0; 255 in mode "divide_255", so that `pixel_scale` is 1.

    Example:
        >>> Standardize(np.float32([1.0]), np.float32([2.0]))(np.uint8([[5]])).numpy().tolist()
        [[2.0]]
    """

    mean: np.ndarray
    scale: np.ndarray

    def __post_init__(self) -> None:
        """Checks the numbers."""
        checks.array("mean", self.mean)
        checks.array("scale", self.scale, more_than=0)

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor | None = None) -> tf.Tensor:
        """Standardises a batch of images `[n, height, width, channels]` of any numeric type."""
        del seeds
        images = tf.cast(images, tf.float32)
        mean, scale = self.mean, self.scale
        if images.shape.rank == 4 and images.shape[1:].is_fully_defined():
            # TensorFlow broadcasts several times more slowly along a short last axis alone.
            mean, scale = (np.broadcast_to(part, images.shape[1:]) for part in (mean, scale))
        return (images - mean) / scale

    @property
    def pixel_mean(self) -> np.ndarray:
        """The mean of pixels from 0 to 1: `mean` / 255, float32 of its shape."""
        return self.mean / _WHITE

    @property
    def pixel_scale(self) -> np.ndarray:
        """The scale of pixels from 0 to 1: `scale` / 255, float32 of its shape."""
        return self.scale / _WHITE


@checks.arguments
def fit_standardize(
    images: np.ndarray, mode: str = "per_pixel", floor: float = 0.25
) -> Standardize:
    """Computes the statistics of a training set.

    The paper's A.2: "all individual pixels are subtracted by the mean values and divided by the standard deviation
    values", that is, for the pixel at position (i, j) and channel c, `(x_ijc - mean_ijc) / max(std_ijc, floor * std)`
    with statistics over the training images. A constant pixel becomes 0.

    Args:
        images: Training images, uint8 `[N, height, width, channels]`. Mode "imagenet" does not look at them, so they
            may be the names of files.
        mode: "per_pixel", the paper's; "per_channel", one mean and deviation per channel; "divide_255", `x / 255`; or
            "imagenet", that data set's means and deviations of red, green and blue.
        floor: Least deviation, as a share, above 0, of the deviation of all pixels together. It keeps pixels that are
            (almost) constant in the training set, such as the borders of MNIST and the digits, from becoming 0 / 0, or
            250 where a test image has ink. No pixel of CIFAR-10 comes near the default, so there the formula is the
            paper's to the letter.

    Raises:
        ValueError: If the mode is unknown, the floor is not above 0, or the images are not uint8
            `[N, height, width, channels]` with at least two different values.

    Example:
        >>> images = np.uint8([[[[10]]], [[[20]]]])
        >>> fit_standardize(images)(images).numpy().ravel().tolist()
        [-1.0, 1.0]
    """
    if mode == "imagenet":
        mean, scale = np.array((_IMAGENET_MEAN, _IMAGENET_DEVIATION), np.float32) * _WHITE
        return Standardize(mean, scale)
    checks.one_of("mode", mode, MODES)
    checks.number("floor", floor, more_than=0)
    images = np.asarray(images)  # of a tensor
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise ValueError(
            f"images must be uint8 [N, H, W, C] in mode {mode!r}, got {images.dtype} {images.shape}; "
            "image files go with mode 'imagenet'."
        )
    if mode == "divide_255":
        return Standardize(np.float32(0).reshape(1), _WHITE.reshape(1))
    axes = (0,) if mode == "per_pixel" else (0, 1, 2)
    mean, deviation = _statistics(images, axes)
    _, overall = _statistics(images, (0, 1, 2, 3))
    if not overall:
        raise ValueError("images must not all be one value: there is nothing to divide by.")
    scale = np.maximum(deviation, floor * overall)
    return Standardize(mean.astype(np.float32), scale.astype(np.float32))


def _statistics(images: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and deviation from exact integer sums: 255^2 * N fits into 64 bits for any real N."""
    count = np.prod([images.shape[axis] for axis in axes], dtype=np.int64)
    total, squares = (np.zeros((), np.int64) for _ in range(2))
    for first in range(0, len(images), _CHUNK):
        chunk = images[first : first + _CHUNK].astype(np.uint32)
        total = total + chunk.sum(axes, dtype=np.int64)
        squares = squares + np.square(chunk).sum(axes, dtype=np.int64)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0.0))
