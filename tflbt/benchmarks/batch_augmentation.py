"""What batch augmentation costs: ResNet-20 on CIFAR-shaped images, shifted, mirrored and cut out, M = 4 instances.

python -m tflbt.benchmarks batch_augmentation [--rounds N] [--images N] [--instances M] [--depth N]
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import tensorflow as tf

from tflbt.benchmarks.side_by_side import Target, hold_against, parser_of
from tflbt.benchmarks.sub_batches import (
    add_depth,
    compiled,
    images,
    large_batch_model,
    resnet,
)
from tflbt.data import BatchAugmentation, Cutout, PadCropFlip, chain, sub_batches
from tflbt.training.update_state import time_updates

B = 64  # samples an update, the paper's on CIFAR
EPOCHS = 3  # of each call of fit; the first does not count
TRANSFORM = chain(PadCropFlip(4, flip=True), Cutout(16))


class EpochSeconds(tf.keras.callbacks.Callback):
    """Times the epochs of `fit` after the first, in which it makes its pipeline and traces."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stops it."""
        if epoch > 0:
            self.seconds.append(time.perf_counter() - self._begin)


def measured(count: int, instances: int, rounds: int, depth: int) -> list[Target]:
    """Epochs of as many instances: augmented on the way, from memory, accumulated, and plain Keras's."""
    x, y = images(count)
    augmentation = BatchAugmentation(instances)
    (ready,) = sub_batches(
        (x, y), sub_batch_size=count * instances, transform=TRANSFORM, augmentation=augmentation
    ).as_numpy_iterator()
    plain, batch = compiled(resnet(depth)), B * instances
    way = {"x": x, "y": y, "batch_size": batch, "transform": TRANSFORM}
    apart = {"sub_batch_size": B, "batch_augmentation": BatchAugmentation(instances, "rank")}
    memory = {"x": ready[0], "y": ready[1]}
    on_the_way = large_batch_model(depth)
    candidates: dict[str, tuple[Any, dict[str, Any]]] = {
        f"batch {batch}, augmented on the way": (
            on_the_way,
            {**way, "batch_augmentation": augmentation},
        ),
        f"batch {batch}, augmented beforehand, in memory": (
            large_batch_model(depth),
            {**memory, "batch_size": batch},
        ),
        f"batch {batch} in sub-batches of {B}, on the way": (
            large_batch_model(depth),
            {**way, **apart},
        ),
        f"tf.keras fit, batch {B}, augmented beforehand": (plain, {**memory, "batch_size": B}),
    }
    time_updates(on_the_way)
    timers = {name: EpochSeconds() for name in candidates}
    for _ in range(rounds):
        for name, (model, data) in candidates.items():
            model.fit(**data, epochs=EPOCHS, verbose=0, callbacks=[timers[name]])
    seconds = {name: statistics.median(timer.seconds) for name, timer in timers.items()}
    print(
        f"ResNet-{depth}, {count} images in {instances} instances an epoch, medians of {rounds * (EPOCHS - 1)} epochs"
    )
    for name, taken in seconds.items():
        print(f"{name:<48} {count * instances / taken:8.0f} instances/s")
    waited, computed, _ = on_the_way.update_state.seconds.numpy()
    print(
        f"{'waiting for the next sub-batch':<48} {waited / (waited + computed):8.2%} of the epoch"
    )
    way_seconds, memory_seconds, apart_seconds, plain_seconds = seconds.values()
    return [
        Target("epoch augmented on the way / from memory", way_seconds / memory_seconds, 1.05),
        Target(
            "instances/s accumulated / plain at the sub-batch size",
            plain_seconds / apart_seconds,
            1.0,
            at_least=True,
        ),
    ]


def main(argv: list[str]) -> int:
    """Prints the figures against their targets."""
    parser = parser_of("batch_augmentation", __doc__)
    parser.add_argument(
        "--rounds", type=int, default=5, help="turns of each, of three epochs (default 5)"
    )
    parser.add_argument("--images", type=int, default=1024, help="images an epoch (default 1024)")
    parser.add_argument("--instances", type=int, default=4, help="M (default 4)")
    add_depth(parser)
    options = parser.parse_args(argv)
    return hold_against(*measured(options.images, options.instances, options.rounds, options.depth))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
