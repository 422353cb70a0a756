"""Random windows of images in memory, resized: for a whole batch at once, with a seed for each sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf

from tflbt import checks
from tflbt.data.sample_seeds import uniform
from tflbt.data.transforms.crop_windows import FIRST_DRAW, LEFT, TOP, area_windows
from tflbt.data.transforms.crop_windows import TRIES as DRAWS

Range = tuple[float, float]
AREA: Range = (0.08, 1.0)  # of the image, share
ASPECT: Range = (3 / 4, 4 / 3)
DRAW = ("op", "area")
_ROUNDING = 1e-3  # pixels: by how much two equal lengths may differ in float32


@checks.arguments
@dataclass(frozen=True)
class RandomResizedCrop:
    """Cuts a random window out of each image and resizes it.

    Szegedy et al. 2015 ("Going deeper with convolutions", section 6): windows of 8 to 100% of the area, with an aspect
    ratio (width over height) of 3/4 to 4/3. The paper has the area "distributed evenly", which is `draw="area"`,
    torchvision's rule (`tflbt.data.transforms.crop_windows`), and that of PyTorch's codes.

    By default, `draw="op"`, windows are those of TensorFlow's op, as in its ImageNet references and MLPerf: the aspect
    ratio is uniform, and so is the height between the least and the largest that respect the area and fit; ten ratios
    are tried, and if none fits the whole image is taken. Small windows are then more frequent: of a square image 34%
    have less than a quarter of the area, 21% with `draw="area"`. Two things differ from the op: all positions are
    equally likely, whereas a window of the op never includes the last row or column unless it spans all of them; and
    the height is rounded to pixels after it is drawn.

    Resizing is bilinear, without smoothing, as in `tf.image.resize`, except that a window's outer pixels may also use
    their neighbours outside it. What a sample gets depends on its seeds alone.

    Attributes:
        size: Side of the squares in pixels, at least 1. Default None: the size of the images.
        area: Least and largest area of a window, as shares of the image's area, above 0, at most 1.
        aspect: Least and largest width over height of a window, above 0.
        draw: "op" (TensorFlow's, default) or "area" (torchvision's).

    Raises:
        ValueError: If an attribute is out of its range.

    Example:
        >>> seeds = tf.reshape(tf.range(10), [5, 2])
        >>> RandomResizedCrop(size=8)(tf.ones([5, 20, 30, 3]), seeds).shape
        TensorShape([5, 8, 8, 3])
    """

    size: int | None = None
    area: Range = AREA
    aspect: Range = ASPECT
    draw: str = "op"

    def __post_init__(self) -> None:
        """Checks the attributes."""
        if self.size is not None:
            checks.whole("size", self.size, at_least=1, hint=", or None")
        check_ranges(self.area, self.aspect)
        checks.one_of("draw", self.draw, DRAW)

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Crops and resizes images `[n, height, width, channels]` by seeds, int32 `[n, 2]`; returns float32."""
        images = tf.convert_to_tensor(images)
        height, width, _ = images.shape[1:]
        sides = (height, width) if self.size is None else (self.size, self.size)
        return resized_windows(images, self.windows(seeds, height, width), sides)

    def windows(self, seeds: tf.Tensor, height: int, width: int) -> tf.Tensor:
        """Draws windows, int32 `[n, 4]`: top, left, height, width; inside the image and of at least one pixel."""
        if self.draw == "area":
            return area_windows(seeds, height, width, self.area, self.aspect)
        tries = range(FIRST_DRAW, FIRST_DRAW + 2 * DRAWS, 2)
        aspects = tf.stack([uniform(seeds, number, *self.aspect) for number in tries], axis=1)
        shares = tf.stack([uniform(seeds, number + 1) for number in tries], axis=1)
        least, largest = (tf.sqrt(share * height * width / aspects) for share in self.area)
        largest = tf.minimum(tf.minimum(largest, width / aspects), float(height))
        fits = largest - least > -_ROUNDING
        heights = least + shares * (largest - least)
        # The first that fits: argmax of booleans is the first True, or 0 if there is none.
        first = tf.argmax(tf.cast(fits, tf.int32), axis=1)[:, None]
        rows = tf.gather(heights, first, batch_dims=1)
        columns = rows * tf.gather(aspects, first, batch_dims=1)
        any_fits = tf.reduce_any(fits, axis=1, keepdims=True)
        lengths = ((rows, height), (columns, width))
        sides = tf.concat([_pixels(any_fits, length, whole) for length, whole in lengths], axis=1)
        places = tf.stack([uniform(seeds, TOP), uniform(seeds, LEFT)], axis=1)
        first_pixels = places * tf.cast([height, width] - sides + 1, tf.float32)  # below the count
        return tf.concat([tf.cast(first_pixels, tf.int32), sides], axis=1)


def resized_windows(images: tf.Tensor, windows: tf.Tensor, sides: tuple[int, int]) -> tf.Tensor:
    """Resizes windows of images (int32 `[n, 4]`: top, left, height, width) bilinearly, with pixel centres at halves."""
    images, windows = tf.convert_to_tensor(images), tf.cast(windows, tf.float32)
    if images.dtype not in (tf.uint8, tf.float32):
        images = tf.cast(images, tf.float32)
    # The border is repeated around the images, for what lies beyond the centres of their outer pixels.
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    # In the op's boxes 0 and 1 stand for the centres of the padded image's first and last pixels, and the box's ends
    # for the centres of the first and last pixels of the result.
    steps = windows[:, 2:] / tf.constant(sides, tf.float32)
    starts = windows[:, :2] + 0.5 * steps + 0.5
    ends = starts + tf.constant([side - 1 for side in sides], tf.float32) * steps
    last = tf.constant([side - 1 for side in padded.shape[1:3]], tf.float32)
    boxes = tf.concat([starts / last, ends / last], axis=1)
    return tf.image.crop_and_resize(padded, boxes, tf.range(tf.shape(boxes)[0]), sides)


def check_ranges(area: Range, aspect: Range, prefix: str = "") -> None:
    """Checks the ranges of a random window's area and aspect ratio: see `RandomResizedCrop`."""
    if len(area) != 2 or not 0 < area[0] <= area[1] <= 1:
        raise ValueError(
            f"{prefix}area={area} must be (least, largest) with 0 < least <= largest <= 1."
        )
    if len(aspect) != 2 or not 0 < aspect[0] <= aspect[1] < math.inf:
        raise ValueError(
            f"{prefix}aspect={aspect} must be (least, largest) with 0 < least <= largest."
        )


def _pixels(fits: tf.Tensor, lengths: tf.Tensor, whole: int) -> tf.Tensor:
    """Rounds lengths to pixels; where no window fits, the whole image's length."""
    rounded = tf.clip_by_value(tf.cast(tf.round(lengths), tf.int32), 1, whole)
    return tf.where(fits, rounded, whole)
