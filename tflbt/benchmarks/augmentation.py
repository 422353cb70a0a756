"""What augmenting whole batches saves over mapping one image at a time: images a second of both, through tf.data.

python -m tflbt.benchmarks augmentation [--rounds N] [--images N] [--batch_size N]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.benchmarks.side_by_side import Target, hold_against, medians
from tflbt.data import ColourJitter, Cutout, PadCropFlip, Standardize, chain, sub_batches
from tflbt.data.sample_seeds import sample_seeds

PADDING, SQUARE = 4, 16
BRIGHTNESS, HUE, FACTORS = 32 / 255, 0.1, (0.6, 1.4)  # the two-phase paper, A.2
FLOOR = 3.0


def whole_batches(x: np.ndarray, batch_size: int, colour: bool) -> tf.data.Dataset:
    """The batches as recipes make them."""
    jitter = ColourJitter(BRIGHTNESS, contrast=0.4, saturation=0.4, hue=HUE)
    parts: list[Callable[[Any, tf.Tensor], Any]] = [jitter] if colour else []
    parts += [_standardize(), PadCropFlip(PADDING), Cutout(SQUARE)]
    return sub_batches(x, sub_batch_size=batch_size, shuffle=False, transform=chain(*parts))


def one_at_a_time(x: np.ndarray, batch_size: int, colour: bool) -> tf.data.Dataset:
    """The same with TensorFlow's own random ops for one image, mapped and then batched; seeds are by sample too."""

    def augmented(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        image = tf.cast(image, tf.float32)
        if colour:
            image = _jittered(image / 255, seed) * 255
        image = _standardize()(image)
        around = [PADDING, PADDING]
        padded = tf.pad(image, [around, around, [0, 0]])
        image = tf.image.stateless_random_crop(padded, image.shape, seed + [0, 1])
        image = tf.image.stateless_random_flip_left_right(image, seed + [0, 2])
        return _cut(image, seed + [0, 3])

    with tf.device("CPU:0"):
        seeds = sample_seeds(0, tf.constant(0), tf.range(len(x)))
        images = tf.data.Dataset.from_tensor_slices((x, seeds))
        images = images.map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
        return images.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _standardize() -> Standardize:
    return Standardize(np.full([32, 32, 3], 120, np.float32), np.full([32, 32, 3], 64, np.float32))


def _jittered(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    image = tf.image.stateless_random_brightness(image, BRIGHTNESS, seed + [0, 4])
    image = tf.image.stateless_random_hue(tf.clip_by_value(image, 0, 1), HUE, seed + [0, 5])
    image = tf.image.stateless_random_saturation(image, *FACTORS, seed + [0, 6])
    image = tf.image.stateless_random_contrast(image, *FACTORS, seed + [0, 7])
    return tf.clip_by_value(image, 0, 1)


def _cut(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One image's cutout by a padded mask, as TensorFlow Addons makes it, without its map over a batch of one."""
    height, width, _ = image.shape
    row, column = tf.unstack(tf.random.stateless_uniform([2], seed, maxval=height, dtype=tf.int32))
    top, left = tf.maximum(row - SQUARE // 2, 0), tf.maximum(column - SQUARE // 2, 0)
    below = tf.maximum(height - row - SQUARE // 2, 0)
    right = tf.maximum(width - column - SQUARE // 2, 0)
    hole = tf.zeros([height - top - below, width - left - right], image.dtype)
    mask = tf.pad(hole, [[top, below], [left, right]], constant_values=1)
    return image * mask[:, :, None]


def compared(x: np.ndarray, batch_size: int, rounds: int, colour: bool) -> Target:
    """Both pipelines over the same images, and one copy of the batches that come out."""
    whole = whole_batches(x, batch_size, colour)
    single = one_at_a_time(x, batch_size, colour)
    made, copied = (np.ones([batch_size, *x.shape[1:]], np.float32) for _ in range(2))

    def copies() -> None:
        for _ in range(0, len(x), batch_size):
            np.copyto(copied, made)

    candidates = {
        "one image at a time": lambda: _drained(single),
        "whole batches": lambda: _drained(whole),
        "one copy of the batches (the limit)": copies,
    }
    seconds = medians(candidates, rounds)
    what = "shift, flip and cutout" + (" after colour" if colour else "")
    print(f"{what}: {len(x)} images of {x.shape[1:]}, batches of {batch_size}, {rounds} rounds")
    for name, taken in seconds.items():
        print(f"  {name:<50} {len(x) / taken:12.0f} images/s")
    ratio = seconds["one image at a time"] / seconds["whole batches"]
    return Target(f"{what}, whole / one at a time", ratio, FLOOR, at_least=True)


def _drained(dataset: tf.data.Dataset) -> None:
    for _ in dataset:
        pass


def main(argv: list[str]) -> int:
    """Prints images a second of both ways, without and with the colours, and holds the ratios against the floor."""
    parser = argparse.ArgumentParser(
        prog="python -m tflbt.benchmarks augmentation", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    parser.add_argument("--images", type=int, default=8192, help="images a round (default 8192)")
    parser.add_argument("--batch_size", type=int, default=256, help="of a batch (default 256)")
    options = parser.parse_args(argv)
    x = np.random.default_rng(0).integers(0, 256, (options.images, 32, 32, 3), np.uint8)
    sizes = options.batch_size, options.rounds
    return hold_against(*(compared(x, *sizes, colour) for colour in (False, True)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
