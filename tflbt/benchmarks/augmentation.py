"""What augmenting whole batches saves over mapping one image at a time: images per second and core, through tf.data.

python -m tflbt.benchmarks augmentation [--rounds N] [--images N] [--batch_size N]

The floor is for the ops that people would take for one image: tf.image's, and TensorFlow Addons' cutout where it is
installed; a leaner cutout written by hand is measured beside them.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.benchmarks.side_by_side import Target, hold_against, medians, parser_of
from tflbt.data import ColourJitter, Cutout, PadCropFlip, Standardize, chain
from tflbt.data.sample_seeds import sample_seeds

SHAPE = (32, 32, 3)
PADDING, SQUARE = 4, 16
BRIGHTNESS, HUE, CHANGE = 32 / 255, 0.1, 0.4  # the two-phase paper, A.2
STANDARDIZE = Standardize(np.full(SHAPE, 120, np.float32), np.full(SHAPE, 64, np.float32))
FLOOR = 3.0
WHOLE = "whole batches"

Cut = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # of an image and its seed


def whole_batches(images: tf.data.Dataset, batch_size: int, colour: bool) -> tf.data.Dataset:
    """Batches first, each augmented at once, as recipes do it."""
    jitter = ColourJitter(BRIGHTNESS, contrast=CHANGE, saturation=CHANGE, hue=HUE)
    parts: list[Callable[[Any, tf.Tensor], Any]] = [jitter] if colour else []
    parts += [STANDARDIZE, PadCropFlip(PADDING), Cutout(SQUARE)]
    batches = images.batch(batch_size)
    return batches.map(chain(*parts), num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def one_at_a_time(
    images: tf.data.Dataset, batch_size: int, colour: bool, cut: Cut
) -> tf.data.Dataset:
    """Each image augmented with TensorFlow's own random ops, by seeds of its own too, and batches last."""

    def augmented(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        image = tf.cast(image, tf.float32)
        if colour:
            image = _jittered(image / 255, seed) * 255
        image = STANDARDIZE(image)
        around = [PADDING, PADDING]
        padded = tf.pad(image, [around, around, [0, 0]])
        image = tf.image.stateless_random_crop(padded, SHAPE, seed + [0, 1])
        image = tf.image.stateless_random_flip_left_right(image, seed + [0, 2])
        return cut(image, seed + [0, 3])

    mapped = images.map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
    return mapped.batch(batch_size).prefetch(2)


def _jittered(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    factors = 1 - CHANGE, 1 + CHANGE
    image = tf.image.stateless_random_brightness(image, BRIGHTNESS, seed + [0, 4])
    image = tf.image.stateless_random_hue(tf.clip_by_value(image, 0, 1), HUE, seed + [0, 5])
    image = tf.image.stateless_random_saturation(image, *factors, seed + [0, 6])
    image = tf.image.stateless_random_contrast(image, *factors, seed + [0, 7])
    return tf.clip_by_value(image, 0, 1)


def masked(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Cutout by a padded mask, the leanest way for one image."""
    height, width, _ = SHAPE
    row, column = tf.unstack(tf.random.stateless_uniform([2], seed, maxval=height, dtype=tf.int32))
    top, left = tf.maximum(row - SQUARE // 2, 0), tf.maximum(column - SQUARE // 2, 0)
    below = tf.maximum(height - row - SQUARE // 2, 0)
    right = tf.maximum(width - column - SQUARE // 2, 0)
    hole = tf.zeros([height - top - below, width - left - right], image.dtype)
    mask = tf.pad(hole, [[top, below], [left, right]], constant_values=1)
    return image * mask[:, :, None]


def cuts() -> dict[str, Cut]:
    """The ways to cut out of one image: TensorFlow Addons' first, where it is installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Its notice that it is no longer developed.
            from tensorflow_addons.image import random_cutout
    except ImportError:
        return {"a padded mask": masked}
    addons = lambda image, seed: random_cutout(image[None], SQUARE)[0]  # noqa: E731
    return {"TensorFlow Addons": addons, "a padded mask": masked}


def compared(x: np.ndarray, batch_size: int, rounds: int, colour: bool) -> Target:
    """Both ways over the same images and seeds, and one copy of the batches that come out."""
    with tf.device("CPU:0"):
        seeds = sample_seeds(0, tf.constant(0), tf.range(len(x)))
        images = tf.data.Dataset.from_tensor_slices((x, seeds))
        singles = {
            f"one at a time, cutout by {by}": one_at_a_time(images, batch_size, colour, cut)
            for by, cut in cuts().items()
        }
        pipelines = {**singles, WHOLE: whole_batches(images, batch_size, colour)}
    source, target = (np.ones([batch_size, *SHAPE], np.float32) for _ in range(2))

    def copies() -> None:
        for _ in range(0, len(x), batch_size):
            np.copyto(target, source)

    runs = {name: functools.partial(_drained, pipeline) for name, pipeline in pipelines.items()}
    seconds = cpu_medians({**runs, "one copy of the batches in memory (the limit)": copies}, rounds)
    what = "shift, flip, cutout" + (", colour" if colour else "")
    print(
        f"{what}: {len(x)} images of {SHAPE}, batches of {batch_size}, medians of {rounds} rounds"
    )
    for name, taken in seconds.items():
        times = f"{taken / seconds[WHOLE]:8.2f} x the time" if name in singles else ""
        print(f"  {name:<46} {len(x) / taken:10.0f} images/s of one core{times}")
    ratio = seconds[next(iter(singles))] / seconds[WHOLE]
    return Target(f"{what}: whole / one at a time", ratio, FLOOR, at_least=True)


def cpu_medians(candidates: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of CPU time of each candidate, taking turns: what training beside it would go without."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}

    def timed(name: str) -> None:
        begin = time.process_time()
        candidates[name]()
        taken[name].append(time.process_time() - begin)

    medians({name: functools.partial(timed, name) for name in candidates}, rounds)
    return {name: statistics.median(seconds[-rounds:]) for name, seconds in taken.items()}


def _drained(dataset: tf.data.Dataset) -> None:
    for _ in dataset:
        pass


def main(argv: list[str]) -> int:
    """Prints images a second of both ways, without and with colour, and holds the ratios against the floor."""
    parser = parser_of("augmentation", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    parser.add_argument("--images", type=int, default=4096, help="images a round (default 4096)")
    parser.add_argument("--batch_size", type=int, default=256, help="of a batch (default 256)")
    options = parser.parse_args(argv)
    x = np.random.default_rng(0).integers(0, 256, (options.images, *SHAPE), np.uint8)
    sizes = options.batch_size, options.rounds
    return hold_against(*(compared(x, *sizes, colour) for colour in (False, True)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
