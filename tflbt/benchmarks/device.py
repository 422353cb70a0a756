"""What a device does: images/s of ResNet-20 and ResNet-50 in large batches against plain Keras; reads of its host.

python -m tflbt.benchmarks device [--network NAME ...] [--images N] [--sub_batch N] [--size PIXELS] [--rounds N]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import models
from tflbt.benchmarks.side_by_side import Target, hold_against, medians, parser_of
from tflbt.benchmarks.sub_batches import compiled
from tflbt.training import LargeBatchModel

# By name: how to build it, and the pixels and classes of its images.
NETWORKS: dict[str, tuple[dict[str, Any], int, int]] = {
    "resnet4": ({"name": "cifar_resnet", "depth": 4, "widths": (16,)}, 32, 10),  # for a try
    "resnet20": ({"name": "cifar_resnet", "depth": 20}, 32, 10),
    "resnet50": ({"name": "resnet50"}, 224, 1000),
}
UPDATES = 4  # of the epoch whose reads are counted beside those of an epoch of one update
READS = 1  # of an update: Keras reads its own number of steps, also in plain Keras


@contextmanager
def counting_reads() -> Iterator[list[str]]:
    """Yields a list, which grows by the device of each tensor that the host reads: a wait for what comes before it."""
    tensors = type(tf.constant(0))
    read, seen = tensors._numpy, []

    def counted(tensor: Any) -> Any:
        seen.append(tensor.device)
        return read(tensor)

    tensors._numpy = counted
    try:
        yield seen
    finally:
        tensors._numpy = read


def compare(network: str, policy: str, options: argparse.Namespace) -> list[Target]:
    """Epochs of one network over the same images in both ways."""
    build, pixels, classes = NETWORKS[network]
    generator = np.random.default_rng(0)
    pixels = options.size or pixels
    x = generator.normal(size=(options.images, pixels, pixels, 3)).astype("float32")
    y = generator.integers(0, classes, options.images)
    tf.keras.mixed_precision.set_global_policy(policy)
    shape: dict[str, Any] = {"input_shape": (pixels, pixels, 3), "classes": classes}
    plain, large = (models.build(**build, **shape) for _ in range(2))
    plain, large = compiled(plain), compiled(LargeBatchModel.from_model(large))
    sub_batch = min(options.sub_batch, options.images // UPDATES)

    def train_large(updates: int = 1) -> None:
        large.fit(x, y, batch_size=options.images // updates, sub_batch_size=sub_batch, verbose=0)

    ways = {"plain": lambda: plain.fit(x, y, batch_size=sub_batch, verbose=0), "large": train_large}
    seconds = medians(ways, options.rounds)
    reads = {}
    for updates in (1, UPDATES):
        with counting_reads() as seen:
            train_large(updates)
        reads[updates] = len(seen)
    for way, taken in seconds.items():
        print(
            f"{network}, {policy}, {way:5}, sub-batches of {sub_batch} {options.images / taken:12.0f} images/s"
        )
    print(f"{network}, {policy}: the host reads {reads[1]} tensors in an epoch of one update")
    return [
        Target(f"{network}, {policy}: large / plain", seconds["plain"] / seconds["large"], 1.0, at_least=True),
        Target(f"{network}, {policy}: reads of a further update", (reads[UPDATES] - reads[1]) / (UPDATES - 1), READS),
    ]  # fmt: skip


def main(argv: list[str]) -> int:
    """Prints the figures beside their targets; returns 1 if one is missed."""
    parser = parser_of("device", __doc__)
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=["resnet20", "resnet50"])
    parser.add_argument(
        "--policy", nargs="+", default=["float32", "mixed_bfloat16"], help="precisions"
    )
    parser.add_argument("--images", type=int, default=4096, help="of an epoch and a batch (4096)")
    parser.add_argument("--sub_batch", type=int, default=256, help="samples at once (256)")
    parser.add_argument(
        "--size", type=int, default=0, help="pixels of a side (default: the network's)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="interleaved epochs of each (3)")
    options = parser.parse_args(argv)
    names = [gpu.name for gpu in tf.config.list_physical_devices("GPU")] or ["the processor"]
    print(f"on {', '.join(names)}, TensorFlow {tf.__version__}")
    targets: list[Target] = []
    try:
        for network in options.network:
            for policy in options.policy:
                targets += compare(network, policy, options)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    return hold_against(*targets)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
