"""What sub-batches cost, and measuring their noise: throughput, memory and all-reduces of ResNet-20 on CIFAR images.

python -m tflbt.benchmarks sub_batches [--rounds N] [--images N] [--sub_batch N] [--depth N] [--small]

With `--small`, the throughput of three convolutions on 24x24 images, where plain Keras can take all 8,192 at once.
"""

from __future__ import annotations

import argparse
import functools
import resource
import shutil
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import init, models, size
from tflbt.benchmarks.side_by_side import Target, hold_against, lines_of, medians, parser_of
from tflbt.training import LargeBatchModel, NoiseScale
from tflbt.training.keras_internals import concrete_functions

LARGE_BATCH = 8192
WHOLE = 1024  # of ResNet-20's images, a batch that takes 3 GiB as a whole; of 8192 it would be 20
SMALL_PIXELS = 24
COMMAND = [sys.executable, "-m", "tflbt.benchmarks", "sub_batches"]


def images(count: int, pixels: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Random images, by default of CIFAR-10's shape, and labels."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(count, pixels, pixels, 3)).astype("float32")
    return x, generator.integers(0, 10, count)


def compiled(model: tf.keras.Model) -> Any:
    """Returns the model, compiled."""
    model.compile(
        tf.keras.optimizers.SGD(0.01, momentum=0.9),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def resnet(depth: int) -> tf.keras.Model:
    """A CIFAR ResNet of 6n + 2 layers; one of 4, for a try, is the first stage of that of 8."""
    return models.build("cifar_resnet", depth=depth, **({"widths": (16,)} if depth == 4 else {}))


def small_network() -> tf.keras.Model:
    """Three 3x3 convolutions with batch normalisation, on images of 24x24."""
    outputs = inputs = tf.keras.Input([SMALL_PIXELS, SMALL_PIXELS, 3])
    for stride, width in enumerate((16, 32, 64)):
        outputs = tf.keras.layers.Conv2D(width, 3, min(stride + 1, 2), "same", use_bias=False)(
            outputs
        )
        outputs = tf.keras.layers.ReLU()(tf.keras.layers.BatchNormalization()(outputs))
    outputs = tf.keras.layers.GlobalAveragePooling2D()(outputs)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(10)(outputs))


def large_batch_model(depth: int) -> LargeBatchModel:
    """A CIFAR ResNet as a LargeBatchModel."""
    return compiled(LargeBatchModel.from_model(resnet(depth)))


def add_depth(parser: argparse.ArgumentParser) -> None:
    """Adds the option for another network."""
    text = "of the ResNet, 6n + 2, or 4: one stage, for a try (default 20)"
    parser.add_argument("--depth", type=int, default=20, help=text)


def bare_loop(model: Any, x: np.ndarray, y: np.ndarray, sub_batch: int) -> Callable[[], object]:
    """What takes an update of all images a sub-batch at a time, as a loop written for just this would."""
    images, labels = tf.constant(x), tf.constant(y)
    variables = model.trainable_variables

    @tf.function
    def update() -> tf.Tensor:
        sums = [tf.zeros_like(variable) for variable in variables]
        for begin in tf.range(0, len(x), sub_batch):
            # As ours: more at a time would hold more than one sub-batch's activations.
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            part = slice(begin, begin + sub_batch)
            with tf.GradientTape() as tape:
                loss = model.loss(labels[part], model(images[part], training=True))
            sums = [a + b for a, b in zip(sums, tape.gradient(loss, variables))]
        means = [total * (sub_batch / len(x)) for total in sums]
        model.optimizer.apply_gradients(zip(means, variables))
        return loss

    return lambda: update().numpy()


def throughput(
    build: Callable[[], tf.keras.Model], pixels: int, whole: int, options: argparse.Namespace
) -> list[Target]:
    """Epochs over the same images: plain Keras at the sub-batch size, large batches of sub-batches, and the limit.

    That is a loop written for one update of these images. A batch of `whole` is also taken as one by plain Keras.
    """
    count, sub_batch = options.images, options.sub_batch
    x, y = images(count, pixels)
    plain = compiled(build())
    large, measured = (compiled(LargeBatchModel.from_model(build())) for _ in range(2))
    batch, whole = min(LARGE_BATCH, count), min(whole, count)
    first = x[:whole], y[:whole]
    bare = bare_loop(compiled(build()), x[:batch], y[:batch], sub_batch)
    rules = [NoiseScale()]  # another would trace the update anew

    def fit(model: Any, *data: Any, size: int = batch, rules: Any = ()) -> None:
        model.fit(*data, batch_size=size, sub_batch_size=sub_batch, rules=rules, verbose=0)

    seconds = medians(
        {
            "plain": lambda: plain.fit(x, y, batch_size=sub_batch, verbose=0),
            "large": lambda: fit(large, x, y),
            "bare": bare,
            "measured": lambda: fit(measured, x, y, rules=rules),
            "plain, whole": lambda: plain.fit(*first, batch_size=whole, verbose=0),
            "large, whole": lambda: fit(large, *first, size=whole),
        },
        options.rounds,
    )
    lines = {
        "plain": (f"tf.keras fit, batch {sub_batch}", count),
        "large": (f"LargeBatchModel, batch {batch} in sub-batches of {sub_batch}", count),
        "bare": ("a loop written for one update of these images", batch),
        "plain, whole": (f"tf.keras fit, batch {whole}", whole),
        "large, whole": (f"LargeBatchModel, batch {whole} in sub-batches of {sub_batch}", whole),
    }
    print(f"{plain.name}, {count} images an epoch, medians of {options.rounds} interleaved epochs")
    for name, (line, number) in lines.items():
        print(f"{line:<52} {number / seconds[name]:8.0f} images/s")
    ratio = seconds["plain"] / seconds["large"]
    of_whole = seconds["plain, whole"] / seconds["large, whole"]
    noise = seconds["measured"] / seconds["large"]
    return [
        Target("images/s of the large batch / plain", ratio, 1.05, at_least=True),
        Target(f"images/s of {whole} in sub-batches / plain", of_whole, 1.0, at_least=True),
        Target("an update with its noise scale / without", noise, 1.02),
    ]


def peak_memory(sub_batches: int, count: int, sub_batch: int, depth: int) -> int:
    """Peak resident KiB of a process that trains on `count` images with this many sub-batches per update."""
    words = [f"--train={sub_batches}", f"--images={count}"]
    return int(lines_of([*COMMAND, *words, f"--sub_batch={sub_batch}", f"--depth={depth}"])[-1])


def train_and_print_peak(sub_batches: int, count: int, sub_batch: int, depth: int) -> None:
    """Train as that process does, and print its peak memory."""
    large_batch_model(depth).fit(
        *images(count),
        batch_size=sub_batches * sub_batch,
        sub_batch_size=sub_batch,
        epochs=2,
        verbose=0,
    )
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def memory(count: int, sub_batch: int, depth: int) -> Target:
    """Peak memory at 64 sub-batches per update against 1."""
    peaks = {number: peak_memory(number, count, sub_batch, depth) for number in (1, 64)}
    for sub_batches, peak in peaks.items():
        print(
            f"peak resident memory, {sub_batches:>2} sub-batches of {sub_batch} an update {peak / 1024:14.0f} MiB"
        )
    return Target("peak memory, 64 sub-batches / 1", peaks[64] / peaks[1], 1.05)


def count_reductions(sub_batch: int, depth: int) -> None:
    """Prints, on each rank, the Horovod operations in the graph of one update, bodies of loops included."""
    init()
    x, y = images(sub_batch * size() * 4)
    for sub_batches in (1, 4):
        model = large_batch_model(depth)
        batch = size() * sub_batch * sub_batches
        model.fit(x, y, batch_size=batch, sub_batch_size=sub_batch, verbose=0)
        function = concrete_functions(model.train_tf_function)[0]
        definition = function.graph.as_graph_def()
        nodes = [
            *definition.node,
            *(node for body in definition.library.function for node in body.node_def),
        ]
        groups = sum(node.op == "HorovodGroupedAllreduce" for node in nodes)
        others = sum(node.op.startswith("Horovod") for node in nodes) - groups
        print(f"sub-batches {sub_batches} groups {groups} others {others}")


def reductions(sub_batch: int, depth: int) -> None:
    """Prints the all-reduces per update on two real ranks."""
    launcher = shutil.which("horovodrun")
    if launcher is None:
        print("all-reduces an update: not counted, horovodrun is not on PATH")
        return
    program = [*COMMAND, "--count_reductions", f"--sub_batch={sub_batch}", f"--depth={depth}"]
    lines = lines_of([launcher, "-np", "2", "--gloo", *program])
    for line in sorted({line.split(":", 1)[-1].strip() for line in lines if "groups" in line}):
        _, sub_batches, _, groups, _, others = line.split()
        print(
            f"two ranks, {sub_batches} sub-batches an update: {groups} Horovod group, {others} other Horovod operations"
        )


def main(argv: list[str]) -> int:
    """Prints throughput, peak memory and all-reduces, each against its target."""
    parser = parser_of("sub_batches", __doc__)
    parser.add_argument("--rounds", type=int, default=3, help="counted epochs of each (default 3)")
    parser.add_argument(
        "--images", type=int, default=LARGE_BATCH, help="images an epoch (default 8192)"
    )
    parser.add_argument("--sub_batch", type=int, default=128, help="its images (default 128)")
    add_depth(parser)
    parser.add_argument("--small", action="store_true", help="three convolutions; throughput alone")
    parser.add_argument("--train", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--count_reductions", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    count, sub_batch, depth = options.images, options.sub_batch, options.depth
    if options.train:
        train_and_print_peak(options.train, count, sub_batch, depth)
    elif options.count_reductions:
        count_reductions(sub_batch, depth)
    elif options.small:
        return hold_against(*throughput(small_network, SMALL_PIXELS, LARGE_BATCH, options))
    else:
        targets = (
            *throughput(functools.partial(resnet, depth), 32, WHOLE, options),
            memory(count, sub_batch, depth),
        )
        reductions(sub_batch, depth)
        return hold_against(*targets)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
