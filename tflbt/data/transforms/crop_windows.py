"""Random windows whose areas are uniform, as torchvision draws them: of a whole batch at once, or of one image."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tflbt.data.sample_seeds import uniform

# The numbers that a sample draws; from the third on, two for each try.
TOP, LEFT, FIRST_DRAW = range(3)
TRIES = 10


def area_windows(
    seeds: tf.Tensor,
    height: Any,
    width: Any,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> tf.Tensor:
    r"""Draws windows by torchvision's `RandomResizedCrop.get_params`: int32 `[n, 4]`, top, left, height, width.

    Of each of ten tries the area's share s is uniform over `area` and the logarithm of the aspect ratio r over that of
    `aspect`; with the image's H and W,

    $$w = \text{round} \sqrt{s H W r}, \qquad h = \text{round} \sqrt{s H W / r},$$

    and the first that fits is taken, every place with equal probability. If none fits, it is the largest centred window
    whose aspect ratio is within the bounds.

    Args:
        seeds: int32 `[n, 2]` (`tflbt.data.sample_seeds`).
        height: Of the images in pixels, a number or a scalar tensor.
        width: Likewise.
        area: Least and largest s, above 0, at most 1.
        aspect: Least and largest r, width over height.

    Example:
        >>> seeds = tf.reshape(tf.range(2000), [1000, 2])
        >>> windows = area_windows(seeds, 100, 100, (0.25, 1.0), (1.0, 1.0))
        >>> areas = tf.cast(windows[:, 2] * windows[:, 3], tf.float32) / 10_000
        >>> abs(float(tf.reduce_mean(areas)) - 0.625) < 0.03
        True
    """
    sides = tf.stack([tf.cast(side, tf.float32) for side in (height, width)])
    tries = range(FIRST_DRAW, FIRST_DRAW + 2 * TRIES, 2)
    shares = tf.stack([uniform(seeds, number, *area) for number in tries], axis=1)
    logs = [math.log(bound) for bound in aspect]
    ratios = tf.exp(tf.stack([uniform(seeds, number + 1, *logs) for number in tries], axis=1))
    pixels = shares * tf.reduce_prod(sides)
    lengths = tf.round(tf.sqrt(tf.stack([pixels / ratios, pixels * ratios], axis=2)))
    fits = tf.reduce_all((lengths >= 1) & (lengths <= sides), axis=2)
    # The first that fits: argmax of booleans is the first True, or 0 if there is none.
    chosen = tf.gather(lengths, tf.argmax(tf.cast(fits, tf.int32), axis=1), batch_dims=1)
    any_fits = tf.reduce_any(fits, axis=1, keepdims=True)
    chosen = tf.where(any_fits, chosen, _within(sides, aspect))
    places = tf.stack([uniform(seeds, TOP), uniform(seeds, LEFT)], axis=1)
    first = tf.where(any_fits, places * (sides - chosen + 1), (sides - chosen) / 2)
    return tf.cast(tf.concat([tf.floor(first), chosen], axis=1), tf.int32)


def _within(sides: tf.Tensor, aspect: tuple[float, float]) -> tf.Tensor:
    """The height and width of the largest window whose aspect ratio is within the bounds."""
    height, width = tf.unstack(sides)
    rows = tf.minimum(height, tf.round(width / aspect[0]))
    columns = tf.minimum(width, tf.round(height * aspect[1]))
    return tf.stack([rows, columns])
