"""What is held at its peak by an optimizer step on ResNet-50's 161 variables, and by an update for its gradients.

python -m tflbt.benchmarks optimizer_memory [--variables N] [--units N]

Of a step counts what it holds beyond weights, gradients and slots, of an update what it holds beyond weights and slots.
Under horovodrun or mpirun the update is that of all ranks.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import init, is_chief, size
from tflbt.benchmarks.optimizers import add_variables, makers, resnet50_shapes, step_function
from tflbt.benchmarks.side_by_side import Target, hold_against, parser_of
from tflbt.optimizers import LARS
from tflbt.training import LargeBatchModel

# Scalars are temporaries too.
MOST = 1.01
LAYERS, SAMPLES = 8, 4  # of the network whose gradients are measured, and of a sub-batch
SETS = 2  # of gradients at most: the sums of the sub-batches before, and the parts of the last


def peak(make: Callable[[], Any], shapes: list[tf.TensorShape], device: str) -> int:
    """Bytes that a step allocates at its peak beyond what was there before it; the largest of three steps."""
    gradients = [tf.random.stateless_normal(shape, [i, 1]) * 1e-3 for i, shape in enumerate(shapes)]
    step = step_function(make(), shapes, gradients)
    step()
    found = []
    for _ in range(3):
        tf.config.experimental.reset_memory_stats(device)
        before = tf.config.experimental.get_memory_info(device)["current"]
        step()
        found.append(tf.config.experimental.get_memory_info(device)["peak"] - before)
    return max(found)


class Peaks(tf.keras.callbacks.Callback):
    """Bytes that each update allocates at its peak beyond what was there before it."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.before = device, 0
        self.bytes: list[int] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """An update begins."""
        tf.config.experimental.reset_memory_stats(self.device)
        self.before = tf.config.experimental.get_memory_info(self.device)["current"]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """It has ended."""
        peak = tf.config.experimental.get_memory_info(self.device)["peak"]
        self.bytes.append(peak - self.before)


def gradients_held(sub_batches: int, units: int, device: str) -> float:
    """What an update holds at its peak, in sets of its gradients; the median of eight.

    The network has large weights and few samples. A step of LARS holds no more than a layer's gradient besides.
    """
    batch = size() * sub_batches * SAMPLES
    x = np.random.default_rng(0).normal(size=(8 * batch, units)).astype("float32")
    inputs = outputs = tf.keras.Input([units])
    for _ in range(LAYERS):
        outputs = tf.keras.layers.Dense(units, "relu")(outputs)
    model = LargeBatchModel(inputs, outputs)
    model.compile(LARS(0.1, momentum=0.9), "mse")
    options: dict[str, Any] = {"batch_size": batch, "sub_batch_size": SAMPLES, "verbose": 0}
    peaks = Peaks(device)
    model.fit(x[:batch], x[:batch], **options)  # makes the slots
    model.fit(x, x, callbacks=[peaks], **options)
    return statistics.median(peaks.bytes) / (4 * model.count_params())


def main(argv: list[str]) -> int:
    """Prints each optimizer's peak in MiB and in units of the largest variable, and updates' in sets of gradients."""
    parser = parser_of("optimizer_memory", __doc__)
    add_variables(parser)
    parser.add_argument("--units", type=int, default=512, help="of a layer (default 512)")
    arguments = parser.parse_args(argv)
    # The allocator that counts, where there is no GPU; TensorFlow reads this when it first uses the processor.
    os.environ["TF_CPU_ALLOCATOR_USE_BFC"] = "true"
    init()
    device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
    shapes = resnet50_shapes(arguments.variables)
    largest = 4 * max(shape.num_elements() for shape in shapes)
    peaks = {name: peak(make, shapes, device) / largest for name, make in makers().items()}
    sets = {number: gradients_held(number, arguments.units, device) for number in (1, 4)}
    if not is_chief():
        return 0
    print(f"{device}: {len(shapes)} variables, the largest {largest / 2**20:.1f} MiB")
    for name, share in peaks.items():
        print(
            f"{name:<46} {share * largest / 2**20:8.1f} MiB   {share:6.2f} x the largest variable"
        )
    missed = hold_against(
        *(
            Target(f"{name} step's temporaries / largest variable", peaks[name], MOST)
            for name in ("LARS", "LAMB", "LayerWise(SGD, momentum)", "LayerWise(Adam)")
        ),
        *(
            Target(f"update of {number} sub-batch(es) / a set of gradients", found, SETS)
            for number, found in sets.items()
        ),
    )
    return 0 if size() > 1 else missed  # launchers take anything else for a crash


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
