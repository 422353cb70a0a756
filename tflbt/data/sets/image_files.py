"""Reads JPEG and PNG files in batches: a random crop or the centre crop of each, resized to a square.

The crops are those of TensorFlow's ImageNet reference (models/official, `imagenet_preprocessing`).
Training takes a random window of the image, by default of 8 to 100% of its area and with an aspect ratio (width over
height) of 3/4 to 4/3 (Szegedy et al. 2015). `tf.image.stateless_sample_distorted_bounding_box` draws the window and
takes the whole image where ten draws do not fit (`tflbt.data.transforms.random_resized_crop` says how it draws), or
torchvision's rule does, whose areas are uniform (`tflbt.data.transforms.crop_windows`).
Evaluation resizes the shorter side to 8/7 of the square (256 for 224) and takes the centre. The two-phase paper trains
on a random square of an image resized like that. Resizing is bilinear, without smoothing; values stay 0 .. 255, in
float32. Of a JPEG, only the random window is decoded. Gray, CMYK and transparent images become RGB. A file's ending
does not matter (ImageNet has a PNG called .JPEG).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tflbt.data.reading import Reader
from tflbt.data.sample_seeds import uniform
from tflbt.data.transforms.crop_windows import area_windows
from tflbt.data.transforms.random_resized_crop import AREA, ASPECT, DRAWS, Range, check_ranges

Contents = Callable[[tf.Tensor], tf.Tensor]
Paths = Callable[[tf.Tensor], tf.Tensor]
_SHORTER_SIDE = 256 / 224  # of the square's
_UNREADABLE = "image files that are missing, damaged, or neither JPEG nor PNG: "


def random_crops(
    paths: tf.Tensor,
    seeds: tf.Tensor,
    size: int,
    area: Range = AREA,
    aspect: Range = ASPECT,
    contents: Contents = tf.io.read_file,
    draw: str = "op",
) -> tf.Tensor:
    """Reads a random window of each file, resized to a square: float32 images `[n, size, size, 3]`, 0 .. 255.

    `seeds` are int32 `[n, 2]` (`tflbt.data.sample_seeds`); `area`, `aspect` and `draw` are as in
    `RandomResizedCrop`; `contents` reads a path, a string `[]`, and returns the bytes of its JPEG or PNG. n may be 0.
    Files that cannot be read raise `tf.errors.InvalidArgumentError`, which `unreadable_named` turns into an `OSError`.
    """
    return random_crop_reader(_same, size, area, aspect, contents, draw)(paths, seeds)


def resized_random_crops(
    paths: tf.Tensor, seeds: tf.Tensor, size: int, contents: Contents = tf.io.read_file
) -> tf.Tensor:
    """Reads a random square of each file, after resizing the image to nearly that square's size.

    The two-phase paper's A.2: "resized to 256 x 384 pixels keeping the original aspect ratio, and 224 x 224 image is
    randomly cropped". Only an image of 2 : 3 can have that size, so the shorter side of each becomes 256/224 of `size`
    and the longer side keeps the ratio, as in `centre_crops`; every position is equally likely. Such a square shows
    half of an image of 2 : 3, where one of `random_crops`, whose arguments and result these are, may show 8%.
    """
    return resized_random_crop_reader(_same, size, contents)(paths, seeds)


def centre_crops(paths: tf.Tensor, size: int, contents: Contents = tf.io.read_file) -> tf.Tensor:
    """Reads the centre of each file, as evaluation sees it; arguments and result are those of `random_crops`."""
    return centre_crop_reader(_same, size, contents)(paths)


def random_crop_reader(
    paths: Paths, size: int, area: Range, aspect: Range, contents: Contents, draw: str
) -> Reader:
    """`random_crops` as a transform, of names of which `paths` makes the files' paths."""
    check_ranges(area, aspect)

    def read(path: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        window = _random_window(contents(path), seed, area, aspect, draw)
        return tf.image.resize(window, [size, size])

    return _reader(lambda names, seeds: (paths(names), seeds), read, size)


def resized_random_crop_reader(paths: Paths, size: int, contents: Contents) -> Reader:
    """`resized_random_crops` as a transform."""

    def elements(names: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return paths(names), tf.stack([uniform(seeds, draw) for draw in range(2)], axis=1)

    def read(path: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        image, rest = _resized(contents(path), size)
        corner = place * tf.cast(rest + 1, tf.float32)  # below rest + 1, as the place is below 1
        return _square(image, tf.cast(corner, tf.int32), size)

    return _reader(elements, read, size)


def centre_crop_reader(paths: Paths, size: int, contents: Contents) -> Reader:
    """`centre_crops` as a transform."""

    def read(path: tf.Tensor) -> tf.Tensor:
        image, rest = _resized(contents(path), size)
        return _square(image, rest // 2, size)

    return _reader(lambda names, _: (paths(names),), read, size)


@contextlib.contextmanager
def unreadable_named() -> Iterator[None]:
    """Turns TensorFlow's error about files that cannot be read into an `OSError` that names them.

    Raises:
        OSError: If the body met such files. TensorFlow's log says what is wrong with a JPEG.
        InvalidArgumentError: TensorFlow's, if it is about something else.

    Example:
        >>> with unreadable_named():
        ...     centre_crops(tf.constant(["absent.JPEG"]), 14)
        Traceback (most recent call last):
        ...
        OSError: image files that are missing, damaged, or neither JPEG nor PNG: absent.JPEG.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        message = re.search(rf"({_UNREADABLE}.*\.)[\]']", error.message)  # ' when run eagerly
        if message is None:
            raise
        raise OSError(message[1]) from error


def _reader(
    elements: Callable[..., tuple[tf.Tensor, ...]], read: Callable[..., tf.Tensor], size: int
) -> Reader:
    return Reader(elements, read, tf.TensorSpec([size, size, 3]), _UNREADABLE)


def _same(paths: Any) -> tf.Tensor:
    return tf.convert_to_tensor(paths)


def _resized(contents: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes an image, resizes its shorter side to 256/224 of `size`; returns it and by how much it exceeds `size`."""
    image = _decoded(contents)
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = round(size * _SHORTER_SIDE) / tf.reduce_min(sides)
    sides = tf.cast(tf.round(sides * scale), tf.int32)
    return tf.image.resize(image, sides), sides - size


def _square(image: tf.Tensor, corner: tf.Tensor, size: int) -> tf.Tensor:
    top, left = tf.unstack(corner)
    return image[top : top + size, left : left + size]


def _random_window(contents: tf.Tensor, seed: tf.Tensor, *how: Any) -> tf.Tensor:
    """Decodes a random window of an image."""

    def of_jpeg() -> tf.Tensor:
        window = _window(tf.image.extract_jpeg_shape(contents), seed, *how)
        return tf.image.decode_and_crop_jpeg(contents, window, channels=3)

    def of_another() -> tf.Tensor:
        image = _decoded(contents)
        top, left, height, width = tf.unstack(_window(tf.shape(image), seed, *how))
        return image[top : top + height, left : left + width]

    return tf.cond(tf.io.is_jpeg(contents), of_jpeg, of_another)


def _window(
    shape: tf.Tensor,
    seed: tf.Tensor,
    area: Range = AREA,
    aspect: Range = ASPECT,
    draw: str = "op",
) -> tf.Tensor:
    """Draws a window: int32 top, left, height, width."""
    if draw == "area":
        return area_windows(seed[None], shape[0], shape[1], area, aspect)[0]
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed,
        min_object_covered=0.0,
        aspect_ratio_range=aspect,
        area_range=area,
        max_attempts=DRAWS,
    )
    return tf.concat([begin[:2], size[:2]], axis=0)


def _decoded(contents: tf.Tensor) -> tf.Tensor:
    image = tf.io.decode_image(contents, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])
