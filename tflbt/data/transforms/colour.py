"""Random brightness, hue, saturation and contrast, for a whole batch at once, with a seed for each sample."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tflbt import checks
from tflbt.data.sample_seeds import uniform

WHITE = 255.0
_BRIGHTNESS, _HUE, _SATURATION, _CONTRAST = range(4)  # the numbers that a sample draws


@checks.arguments
@dataclass(frozen=True)
class ColourJitter:
    """Changes each image's brightness, hue, saturation and contrast, in this order, that of the two-phase paper (A.2).

    The paper's ImageNet setting is `ColourJitter(brightness=32 / 255, hue=0.1, saturation=0.4, contrast=0.4)`. Each
    part does what `tf.image`'s `adjust_brightness`, `adjust_hue`, `adjust_saturation` and `adjust_contrast` do, with
    one number per image. Values are clipped to 0 .. 255 after the brightness, because hue and saturation are undefined
    outside that range, and at the end. It works on grey levels, so it comes before the standardisation; crops come
    first, because they leave fewer pixels. What a sample gets depends on its seeds alone, where TensorFlow's
    `tf.image.stateless_random_*` and TensorFlow Addons' `random_hsv_in_yiq` draw one number for all images.

    Attributes:
        brightness: Largest change, 0 .. 1, as a share of white: a number uniform over -brightness .. brightness, times
            255, is added to all values.
        contrast: Largest change, 0 .. 1, of the factor, uniform over 1 - contrast .. 1 + contrast, that multiplies
            each value's difference from its channel's mean over the image.
        saturation: Largest change, 0 .. 1, of the factor of HSV's saturation, which is clipped to 1.
        hue: Largest turn, 0 .. 0.5, as a share of the circle of hues.

    Raises:
        ValueError: If an attribute is out of its range; when it is called, if hue or saturation should change but
            there are not three channels.

    Example:
        >>> seeds = tf.reshape(tf.range(10), [5, 2])
        >>> jitter = ColourJitter(brightness=32 / 255, hue=0.1, saturation=0.4, contrast=0.4)
        >>> jitter(tf.fill([5, 8, 8, 3], 99.0), seeds).shape
        TensorShape([5, 8, 8, 3])
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        """Checks the attributes."""
        ranges = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0.5}
        for name, largest in ranges.items():
            checks.number(name, getattr(self, name), at_least=0, at_most=largest)

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Changes images `[n, height, width, channels]`, 0 .. 255, by seeds, int32 `[n, 2]`; returns float32."""
        images = tf.cast(images, tf.float32)
        channels = images.shape[3]
        if (self.hue or self.saturation) and channels != 3:
            raise ValueError(
                f"hue={self.hue} and saturation={self.saturation} must be 0 for images of {channels} channels."
            )
        brightness, hue, saturation, contrast = self.draws(seeds)
        # One plane after another, [n, channels, height, width]: three times as fast as colours side by side.
        planes = tf.transpose(images, [0, 3, 1, 2])
        if self.brightness:
            planes = _clipped(planes + _each(brightness) * WHITE)
        if self.hue or self.saturation:
            planes = turn_and_saturate(planes, hue, saturation)
        if self.contrast:
            means, factors = tf.reduce_mean(planes, axis=[2, 3], keepdims=True), _each(contrast)
            planes = planes * factors + means * (1 - factors)
        return tf.transpose(_clipped(planes), [0, 2, 3, 1])

    def draws(self, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Draws, float32 `[n]` each, the changes of brightness and hue and the factors of saturation and contrast."""
        return (
            uniform(seeds, _BRIGHTNESS, -self.brightness, self.brightness),
            uniform(seeds, _HUE, -self.hue, self.hue),
            uniform(seeds, _SATURATION, 1 - self.saturation, 1 + self.saturation),
            uniform(seeds, _CONTRAST, 1 - self.contrast, 1 + self.contrast),
        )


def turn_and_saturate(planes: tf.Tensor, hues: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Adds turns, in circles, to HSV's hue and multiplies its saturation, leaving the value (the largest colour).

    With the hue h in sixths of the circle and the chroma c (largest minus least), the colours are `largest - c + c *
    share` with the shares `max(h - 4, 2 - h)` of red, `min(h, 4 - h)` of green and `min(h - 2, 6 - h)` of blue, clipped
    to 0 .. 1. Planes are float32 `[n, 3, height, width]`, not negative; the saturation is clipped to 1.
    """
    red, green, blue = tf.unstack(planes, axis=1)
    largest = tf.reduce_max(planes, axis=1)
    chroma = largest - tf.reduce_min(planes, axis=1)
    is_red, is_green = red == largest, green == largest
    difference = tf.where(is_red, green - blue, tf.where(is_green, blue - red, red - green))
    third = tf.where(is_red, 0.0, tf.where(is_green, 2.0, 4.0))
    hue = tf.math.divide_no_nan(difference, chroma) + third + 6 * _each(hues)[:, 0]
    hue -= 6 * tf.floor(hue / 6)
    shares = tf.maximum(hue - 4, 2 - hue), tf.minimum(hue, 4 - hue), tf.minimum(hue - 2, 6 - hue)
    chroma = tf.minimum(chroma * _each(factors)[:, 0], largest)
    least = largest - chroma
    return tf.stack([least + chroma * _clipped(share, 1.0) for share in shares], axis=1)


def _clipped(numbers: tf.Tensor, largest: float = WHITE) -> tf.Tensor:
    """Clips to 0 .. `largest`; `tf.clip_by_value`, in two passes with broadcasts, takes four times as long."""
    return tf.raw_ops.ClipByValue(t=numbers, clip_value_min=0.0, clip_value_max=largest)


def _each(numbers: tf.Tensor) -> tf.Tensor:
    """Gives one number per image the shape that broadcasts with `[n, channels, height, width]`."""
    return numbers[:, None, None, None]
