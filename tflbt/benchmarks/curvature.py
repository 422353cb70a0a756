"""What curvature costs: eigenvalues and exact products in forward passes, gradients and epochs of ABSA."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.benchmarks.side_by_side import Target, hold_against, medians, parser_of
from tflbt.benchmarks.sub_batches import add_depth, resnet
from tflbt.curvature import EigenResult, hessian_vector_product, top_eigenvalue
from tflbt.curvature.hessian_of import hessian_of
from tflbt.data import load_cifar10

EPOCH_SAMPLES = 50_000  # CIFAR-10's training set
ITERATIONS = 10
CONVERGED_ITERATIONS = 300
#: Keeps the eigenvalue within 1% of its limit: the lines printed say by how much it was off.
TOLERANCE = 0.05
EVERY_EPOCH: dict[str, Any] = dict(
    method="exact", solver="lanczos", iterations=20, tolerance=TOLERANCE
)


def main(argv: Sequence[str] = ()) -> int:
    """Measure, print a table of ratios beside their targets, and return 0 if all are met, else 1.

    Times are medians of rounds that run everything once each, in one process, so that a slow moment of the machine
    touches all alike. A "whole-model difference" is one gradient of the output layer's weights through the whole model,
    a sub-batch at a time: the least that the two-phase paper's method needs per iteration. An epoch is 390.6 gradients
    of 128 images, without updates, augmentation or reading data. Between the measurements that the ABSA figures are
    medians of, the network is trained with batch 128 at learning rate 0.1 (the paper's): each starts from the last
    one's eigenvector, as a callback does.

    Args:
        argv: Command-line arguments, see `--help`. `--data_dir` (default ../shared/data) has
            CIFAR-10; empty: random images, whose curvature is another, but no product's time is.

    Returns:
        The exit status.
    """
    options = _options(argv)
    network = _Network(options)
    return max(
        _output_layer(network, options), _products(network, options), _epochs(network, options)
    )


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = parser_of("curvature")
    for name, default, meaning in (
        ("--batch_size", 1024, "samples of the output layer's estimate"),
        (
            "--sub_batch",
            128,
            "images of a gradient; also the batch that the ABSA paper measures on",
        ),
        ("--rounds", 5, "times everything is measured"),
        ("--measurements", 6, "of ABSA's, the first one from a random start"),
        ("--steps", 40, "training steps between them"),
    ):
        parser.add_argument(name, type=int, default=default, help=meaning)
    add_depth(parser)
    parser.add_argument("--data_dir", default="../shared/data", help="CIFAR-10; empty: random")
    return parser.parse_args(list(argv))


class _Network:
    """A residual network, its images, and one function for each thing that a training loop does with them."""

    def __init__(self, options: argparse.Namespace):
        """Build the network and train it for 16 steps, so that its curvature is not a start's."""
        tf.keras.utils.set_random_seed(0)
        self.x, self.y = _images(options)
        self.model = resnet(options.depth)
        loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(tf.keras.optimizers.SGD(0.01, momentum=0.9), loss)
        self.large = self.x[: options.batch_size], self.y[: options.batch_size]
        self.sub_batch = options.sub_batch
        self.batch = self.x[: self.sub_batch], self.y[: self.sub_batch]
        self._gradient = tf.function(self._slopes)
        self._forward = tf.function(lambda images: self.model(images, training=False))
        self.train(16)

    def train(self, steps: int) -> None:
        """Take training steps on batches drawn at random."""
        rows = np.random.default_rng(self.model.optimizer.iterations.numpy()).choice(
            len(self.x), (steps, self.sub_batch)
        )
        for row in rows:
            self.model.train_on_batch(self.x[row], self.y[row])

    def forward(self, x: np.ndarray) -> Callable[[], object]:
        """Return a forward pass in inference."""
        images = tf.constant(x)
        return lambda: self._forward(images).numpy()

    def gradient(self) -> Callable[[], object]:
        """Return a gradient of a batch of 128 by all weights, as training takes it."""
        images, labels = map(tf.constant, self.batch)
        return lambda: self._gradient(images, labels)[0].numpy()

    def _slopes(self, images, labels):
        with tf.GradientTape() as tape:
            value = self.model.loss(labels, self.model(images, training=True))
        return tape.gradient(value, self.model.trainable_variables)

    def differences(self) -> Callable[[], object]:
        """Return what takes ten gradients of the output layer's weights through the whole model."""
        variables = self.model.layers[-1].trainable_variables

        @tf.function
        def gradient(images, labels):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                value = self.model.loss(labels, self.model(images, training=False))
            return tape.gradient(value, variables)

        batches = list(tf.data.Dataset.from_tensor_slices(self.large).batch(2 * self.sub_batch))

        def run():
            for _ in range(ITERATIONS):
                for images, labels in batches:
                    slopes = gradient(images, labels)
            return slopes[0].numpy()

        return run


def _images(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    if options.data_dir:
        data = load_cifar10(options.data_dir)
        x, y = data.x_train[:20_000].astype("float32"), data.y_train[:20_000]
        return (x - x.mean()) / x.std(), y.reshape(-1)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, max(options.batch_size, options.sub_batch))
    x = rng.standard_normal((len(y), 32, 32, 3)) + rng.standard_normal((10, 1, 1, 3))[y]
    return x.astype("float32"), y


def _output_layer(network: _Network, options: argparse.Namespace) -> int:
    """The two-phase paper's measurement: one large batch, finite differences, ten iterations."""
    model, (x, y) = network.model, network.large
    measured = {
        "eigenvalue": lambda: top_eigenvalue(model, x, y, iterations=ITERATIONS),
        "forward": network.forward(x),
        "differences": network.differences(),
        "gradient": network.gradient(),
    }
    seconds = medians(measured, options.rounds)
    value = top_eigenvalue(model, x, y, iterations=ITERATIONS).eigenvalue
    exact = top_eigenvalue(model, x, y, method="exact", iterations=CONVERGED_ITERATIONS)
    epoch = seconds["gradient"] * EPOCH_SAMPLES / options.sub_batch
    print(f"ResNet-{options.depth}, {len(x)} images of 32x32, {ITERATIONS} iterations")
    print(
        f"medians of {options.rounds}: eigenvalue {seconds['eigenvalue']:.3f} s, forward pass {seconds['forward']:.3f} "
        f"s, {ITERATIONS} whole-model differences {seconds['differences']:.3f} s, gradient of {options.sub_batch} "
        f"{seconds['gradient']:.3f} s (an epoch of {EPOCH_SAMPLES}: {epoch:.1f} s, extrapolated)"
    )
    print(
        f"eigenvalue {value:.6g}; exact products, {exact.iterations} iterations: "
        f"{exact.eigenvalue:.6g} (residual {exact.residual:.1g})"
    )
    differences = seconds["eigenvalue"] / seconds["differences"]
    return hold_against(
        Target("eigenvalue / forward pass", seconds["eigenvalue"] / seconds["forward"], 1.3),
        Target(f"eigenvalue / {ITERATIONS} whole-model differences", differences, 0.2),
        Target("share of a CIFAR-10 epoch", seconds["eigenvalue"] / epoch, 0.01),
        Target("relative error of the eigenvalue", abs(value / exact.eigenvalue - 1), 0.005),
    )


def _products(network: _Network, options: argparse.Namespace) -> int:
    """One exact product of the whole model, the first and a later one, and of the last two layers."""
    model, (x, y) = network.model, network.batch
    vector = [np.ones(variable.shape) for variable in model.trainable_variables]
    with contextlib.ExitStack() as stack:
        whole, block = (
            stack.enter_context(hessian_of(model, x, y, layers=name)) for name in ("all", "last_2")
        )
        starts = [[tf.constant(part) for part in h.start(0, None)] for h in (whole, block)]
        measured = {
            "gradient": network.gradient(),
            "forward": network.forward(x),
            "product": lambda: hessian_vector_product(model, x, y, vector, layers="all"),
            "next": lambda: whole.matvec(starts[0])[0].numpy(),
            "block": lambda: block.matvec(starts[1])[0].numpy(),
        }
        seconds = medians(measured, options.rounds)
    print(f"\none exact product on {len(x)} images, medians of {options.rounds}:")
    print(", ".join(f"{name} {taken:.4f} s" for name, taken in seconds.items()))
    print(f"the next products of the same: {seconds['next'] / seconds['gradient']:.2f} gradients")
    return hold_against(
        Target("whole-model product / gradient", seconds["product"] / seconds["gradient"], 4),
        Target("product of the last 2 / forward pass", seconds["block"] / seconds["forward"], 1.3),
    )


def _epochs(network: _Network, options: argparse.Namespace) -> int:
    """ABSA's measurement once per epoch, and how many products the other solvers take."""
    model, (x, y) = network.model, network.batch
    model.optimizer.learning_rate = 0.1
    shares: dict[str, list[float]] = {"all": [], "last_2": []}
    products = dict.fromkeys(("lanczos", "power", "plain power"), 0)
    last: dict[str, EigenResult] = {}
    gradient = network.gradient()
    gradient()
    print(f"\nbatch of {len(x)}, {options.steps} training steps between measurements:")
    for turn in range(options.measurements):
        network.train(options.steps)
        cold = _cold_products(model, x, y)
        products = {name: products[name] + cold[name] for name in products}
        epoch = (
            medians({"gradient": gradient}, 3, 0)["gradient"] * EPOCH_SAMPLES / options.sub_batch
        )
        for layers, share in shares.items():
            begin = time.perf_counter()
            vector = last[layers].eigenvector if turn else None
            search = {**EVERY_EPOCH, "layers": layers, "start_vector": vector}
            result = last[layers] = top_eigenvalue(model, x, y, **search)
            share.append((time.perf_counter() - begin) / epoch)
            limit = {**EVERY_EPOCH, "iterations": 60, "tolerance": 1e-3}
            truth = top_eigenvalue(model, x, y, layers=layers, **limit).eigenvalue
            print(
                f"  {layers:<7} {result.eigenvalue:8.4g}, off by {result.eigenvalue / truth - 1:.2%}"
                f", {result.iterations} products, {share[-1]:.2%} of an epoch"
            )
    print(f"products to 1% residual from random starts, {options.measurements} in all: {products}")
    whole, block = (statistics.median(share[1:] or share) for share in shares.values())
    saved = products["lanczos"] / products["plain power"]
    return hold_against(
        Target("whole Hessian / ABSA epoch", whole, 0.04),
        Target("block Hessian / ABSA epoch", block, 0.01),
        Target("Lanczos / plain power, products to 1%", saved, 2 / 3),
    )


def _cold_products(model: tf.keras.Model, x, y) -> dict[str, int]:
    """Products that each solver takes to a residual of 1%."""
    options = {"layers": "all", "method": "exact", "tolerance": 0.01, "iterations": 100}
    taken = {}
    for solver in ("lanczos", "power"):
        search: dict[str, Any] = {**options, "solver": solver}
        taken[solver] = top_eigenvalue(model, x, y, **search).iterations
    with hessian_of(model, x, y, layers="all") as hessian:
        vector = np.concatenate([part.ravel() for part in hessian.start(0, None)])
        taken["plain power"], residual = 0, 1.0
        while residual > 0.01 and taken["plain power"] < 100:
            vector = vector / np.linalg.norm(vector)
            image = hessian.product(vector)
            residual = np.linalg.norm(image - (vector @ image) * vector) / abs(vector @ image)
            vector, taken["plain power"] = image, taken["plain power"] + 1
    return taken


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
