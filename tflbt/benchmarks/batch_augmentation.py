"""What batch augmentation costs: ResNet-20 on CIFAR-shaped images, shifted, mirrored and cut out, M = 4 instances.

python -m tflbt.benchmarks batch_augmentation [--rounds N] [--images N] [--instances M]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from tflbt.benchmarks.side_by_side import Target, hold_against, medians
from tflbt.benchmarks.sub_batches import compiled, images, large_batch_model
from tflbt.data import BatchAugmentation, Cutout, PadCropFlip, chain, sub_batches
from tflbt.models import build

B = 64  # samples an update, the paper's on CIFAR
TRANSFORM = chain(PadCropFlip(4, flip=True), Cutout(16))


def measured(count: int, instances: int, rounds: int) -> list[Target]:
    """Epochs of as many instances: augmented on the way, from memory, accumulated, and plain Keras's."""
    x, y = images(count)
    augmentation = BatchAugmentation(instances)
    (ready,) = sub_batches(
        (x, y), sub_batch_size=count * instances, transform=TRANSFORM, augmentation=augmentation
    ).as_numpy_iterator()
    on_the_way, from_memory, apart = (large_batch_model() for _ in range(3))
    plain = compiled(build("cifar_resnet", depth=20))
    batch, waited = B * instances, []

    def augment() -> None:
        before = on_the_way.update_state.seconds.numpy()[0]
        on_the_way.fit(
            x, y, batch_size=batch, transform=TRANSFORM, batch_augmentation=augmentation, verbose=0
        )
        waited.append(on_the_way.update_state.seconds.numpy()[0] - before)

    seconds = medians(
        {
            "on the way": augment,
            "memory": lambda: from_memory.fit(ready[0], ready[1], batch_size=batch, verbose=0),
            "accumulated": lambda: apart.fit(
                x, y, batch_size=batch, sub_batch_size=B, transform=TRANSFORM, verbose=0,
                batch_augmentation=BatchAugmentation(instances, "rank"),
            ),
            "plain": lambda: plain.fit(ready[0], ready[1], batch_size=B, verbose=0),
        },
        rounds,
    )  # fmt: skip
    total = count * instances
    print(
        f"ResNet-20, {count} images in {instances} instances an epoch, medians of {rounds} rounds"
    )
    for what, name in (
        (f"batch {batch}, augmented on the way", "on the way"),
        (f"batch {batch}, augmented beforehand, in memory", "memory"),
        (f"batch {batch} in sub-batches of {B}, on the way", "accumulated"),
        (f"tf.keras fit, batch {B}, augmented beforehand", "plain"),
    ):
        print(f"{what:<48} {total / seconds[name]:8.0f} instances/s")
    share = float(np.median(waited[1:])) / seconds["on the way"]
    print(f"{'waiting for the next sub-batch':<48} {share:8.2%} of the epoch")
    return [
        Target("epoch augmented on the way / from memory", seconds["on the way"] / seconds["memory"], 1.05),
        Target(
            "instances/s accumulated / plain at the sub-batch size",
            seconds["plain"] / seconds["accumulated"],
            1.0,
            at_least=True,
        ),
    ]  # fmt: skip


def main(argv: list[str]) -> int:
    """Prints the figures against their targets."""
    parser = argparse.ArgumentParser(
        prog="python -m tflbt.benchmarks batch_augmentation", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=5, help="counted epochs of each (default 5)")
    parser.add_argument("--images", type=int, default=2048, help="images an epoch (default 2048)")
    parser.add_argument("--instances", type=int, default=4, help="M (default 4)")
    options = parser.parse_args(argv)
    return hold_against(*measured(options.images, options.instances, options.rounds))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
