"""Reading JPEG files of ImageNet's size: our random crops of every epoch, beside a bare pipeline of tf.data.

python -m tflbt.benchmarks jpeg [--images N] [--rounds N]
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.benchmarks.side_by_side import Target, hold_against, parser_of
from tflbt.data import load_image_folder
from tflbt.data.sharding import sub_batches
from tflbt.distributed import comm

SIZE, BATCH = 224, 32
HEIGHT, WIDTH = 375, 500  # ImageNet's most frequent size
# Seconds: a process that uses less processor time than IDLE in a PAUSE has nothing more to read ahead.
PAUSE, IDLE = 0.3, 0.01


def write_images(folder: Path, count: int) -> None:
    """Writes a data set of one class: smooth images with some noise."""
    generator = np.random.default_rng(0)
    for split, number in (("train", count), ("val", 1)):
        (folder / split / "class").mkdir(parents=True)
        for i in range(number):
            coarse = tf.image.resize(generator.uniform(0, 255, (12, 16, 3)), [HEIGHT, WIDTH])
            pixels = coarse + generator.normal(0, 8, (HEIGHT, WIDTH, 3))
            contents = tf.io.encode_jpeg(tf.cast(tf.clip_by_value(pixels, 0, 255), tf.uint8))
            tf.io.write_file(str(folder / split / "class" / f"{i}.JPEG"), contents)


def bare(names: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    """Shuffled epochs of random crops, as a script would have them."""

    def read(name: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        contents = tf.io.read_file(name)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.image.extract_jpeg_shape(contents),
            tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            min_object_covered=0.0,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0),
            max_attempts=10,
        )
        window = tf.concat([begin[:2], size[:2]], 0)
        image = tf.image.decode_and_crop_jpeg(contents, window, channels=3)
        return tf.image.resize(image, [SIZE, SIZE]), label

    data = tf.data.Dataset.from_tensor_slices((names, labels)).shuffle(len(names)).repeat()
    return data.map(read, comm.cores()).batch(BATCH).prefetch(2)


def processor_seconds(batches: Iterator[Any], number: int) -> float:
    """The processor time of all threads that so many batches take, until as many as before are read ahead."""
    begin = before = time.process_time()
    for _ in itertools.islice(batches, number):
        pass
    while time.process_time() - before > IDLE:
        before = time.process_time()
        time.sleep(PAUSE)
    return time.process_time() - begin


def main(argv: list[str]) -> int:
    """Prints the processor time of an image of each, and their ratio."""
    parser = parser_of("jpeg", __doc__)
    parser.add_argument("--images", type=int, default=512, help="of an epoch (default 512)")
    parser.add_argument("--rounds", type=int, default=7, help="counted epochs (default 7)")
    options = parser.parse_args(argv)
    batches = -(-options.images // BATCH)
    options.images = batches * BATCH
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), options.images)
        found = load_image_folder(folder)
        names = np.array([str(found.root / name.decode()) for name in found.x_train])
        candidates = {
            "bare tf.data": bare(names, found.y_train),
            "tflbt": sub_batches(
                (found.x_train, found.y_train),
                sub_batch_size=BATCH,
                transform=found.random_crops,
                epochs=2 + options.rounds,  # the last is only read ahead
            ),
        }
        iterators = {name: iter(data) for name, data in candidates.items()}
        seconds: dict[str, list[float]] = {name: [] for name in candidates}
        for turn in range(1 + options.rounds):
            for name, iterator in iterators.items():
                taken = processor_seconds(iterator, batches)
                if turn:  # what begins once, in the first epoch, does not count
                    seconds[name].append(taken)
    medians = [statistics.median(taken) for taken in seconds.values()]
    for name, taken in zip(seconds, medians):
        print(f"{name}: {1e3 * taken / options.images:.2f} ms of a processor for an image")
    return hold_against(Target("processor time / bare tf.data's", medians[1] / medians[0], 1.05))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
