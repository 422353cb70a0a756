"""What an update waits for the other ranks, beside `hvd.DistributedOptimizer` in plain Keras and the bare wire.

python -m tflbt.benchmarks wire [--rounds N] [--updates N] [--samples N] [--units N] [--one_core]

Started by horovodrun or mpirun it measures over their ranks, best on several hosts; alone it starts two ranks here.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import init, is_chief
from tflbt.benchmarks.side_by_side import Target, hold_against, lines_of, parser_of, take_core
from tflbt.distributed import comm, wrapped_optimizer
from tflbt.distributed.launcher import rank_by_launcher
from tflbt.training import LargeBatchModel

K = tf.keras
WIDTH = 256  # of inputs
PEER = "plain Keras, hvd.DistributedOptimizer"
Timed = Callable[[int], float]  # of so many updates, the seconds of one


class UpdateTimes(tf.keras.callbacks.Callback):
    """The seconds from the end of one update to that of the next, within epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._last: float | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """The first update of an epoch does not count: there is more than it between two epochs."""
        self._last = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """An update has ended."""
        now = time.perf_counter()
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now


def network(units: int) -> tf.keras.Model:
    """Four dense layers, 3.4 million weights with 1,024 units."""
    K.utils.set_random_seed(0)
    outputs = inputs = K.Input([WIDTH])
    for _ in range(4):
        outputs = K.layers.Dense(units, "relu")(outputs)
    return K.Model(inputs, K.layers.Dense(10)(outputs))


def trained(model: Any, optimizer: Any, samples: int) -> Callable[..., float]:
    """What trains a model, and returns the median seconds of an update from `count` times `samples` on each rank."""
    model.compile(optimizer, K.losses.SparseCategoricalCrossentropy(from_logits=True))
    generator = np.random.default_rng(0)
    x = generator.normal(size=(samples, WIDTH)).astype("float32")
    data = tf.data.Dataset.from_tensors((x, generator.integers(0, 10, samples))).repeat()

    def run(updates: int, count: int = 1, **options: Any) -> float:
        times = UpdateTimes()
        steps = (updates + 1) * count
        model.fit(data, steps_per_epoch=steps, verbose=0, callbacks=[times], **options)
        return statistics.median(times.seconds)

    return run


def large(options: argparse.Namespace, reduction: comm.Reduction) -> Callable[[int], Timed]:
    """The same of a LargeBatchModel, for a number of sub-batches."""
    model = LargeBatchModel.from_model(network(options.units))
    run = trained(model, optimizer(reduction), options.samples)

    def of(count: int) -> Timed:
        batch = options.samples * count * reduction.size
        return lambda updates: run(updates, count, batch_size=batch, shard=False)

    return of


def optimizer(reduction: comm.Reduction = comm.EVERYONE) -> Any:
    """Momentum SGD, wrapped by Horovod."""
    return wrapped_optimizer.wrap(K.optimizers.SGD(0.01, momentum=0.9), reduction)


def bare(units: int, reduction: comm.Reduction) -> Timed:
    """What returns the median seconds in which the ranks sum as many numbers as the network has weights."""
    tensors = [tf.ones(v.shape) for v in network(units).trainable_variables]

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        sums = comm.all_reduce_sum(
            tensors, f"tflbt.wire.{reduction.compression is None}", reduction
        )
        return tf.add_n(
            [tf.reshape(total, [-1])[0] for total in sums]
        )  # what nobody uses is left out

    def run(updates: int) -> float:
        seconds = []
        for _ in range(updates):
            begin = time.perf_counter()
            step().numpy()
            seconds.append(time.perf_counter() - begin)
        return statistics.median(seconds)

    return run


def measured(options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Median seconds of an update, or of the wire alone, in each round in which all take a turn; the slowest rank's."""
    if options.one_core:
        take_core(rank_by_launcher())
    comm.allow_neighbours()
    init()
    together, alone = (large(options, each) for each in (comm.EVERYONE, comm.neighbours(1)))
    half = comm.Reduction(compression=wrapped_optimizer.half())
    candidates = {
        PEER: trained(network(options.units), optimizer(), options.samples),
        "1 sub-batch": together(1),
        "1 sub-batch, each rank alone": alone(1),
        "4 sub-batches": together(4),
        "4 sub-batches, each rank alone": alone(4),
        "the wire": bare(options.units, comm.EVERYONE),
        "the wire, fp16": bare(options.units, half),
    }
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(options.rounds + 1):
        for name, run in candidates.items():
            taken = run(options.updates)
            if turn:
                seconds[name].append(taken)
    of_ranks = comm.gather_objects(seconds, "tflbt.wire.end")  # nobody leaves before
    return {name: np.max([each[name] for each in of_ranks], axis=0) for name in candidates}


def main(argv: list[str]) -> int:
    """Prints the times, and the ratios beside their bounds."""
    parser = parser_of("wire", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    parser.add_argument("--updates", type=int, default=5, help="of each a round (default 5)")
    parser.add_argument("--samples", type=int, default=512, help="of a sub-batch (default 512)")
    parser.add_argument("--units", type=int, default=1024, help="of a layer (default 1024)")
    parser.add_argument("--one_core", action="store_true", help="each rank has one core")
    options = parser.parse_args(argv)
    if not comm.launched():
        launcher = shutil.which("horovodrun")
        if launcher is None:
            print("horovodrun is not on PATH: nothing measured, 0 bounds met")
            return 0
        command = [sys.executable, "-m", "tflbt.benchmarks", "wire", *argv]
        lines = lines_of([launcher, "-np", "2", "--gloo", *command])
        lines = [line.partition("<stdout>:")[2] for line in lines]
        print("\n".join(lines))
        return int("MISSED" in "\n".join(lines))
    tf.get_logger().setLevel("ERROR")  # each candidate traces once, which it takes for retracing
    seconds = measured(options)
    if not is_chief():
        return 0
    for name, taken in seconds.items():
        print(f"{name:<40} {1000 * np.median(taken):9.1f} ms")
    update, alone, wire = (
        seconds[n] for n in ("1 sub-batch", "1 sub-batch, each rank alone", "the wire")
    )
    four, four_alone = seconds["4 sub-batches"], seconds["4 sub-batches, each rank alone"]
    ratios = {  # of each round; the machine may be faster in one than in the next
        "1 sub-batch / hvd.DistributedOptimizer": (update / seconds[PEER], 1.02),
        "4 sub-batches / (alone + the wire)": (four / (four_alone + wire), 1.05),
        "the wire, fp16 / as it is": (seconds["the wire, fp16"] / wire, 0.6),
        "waiting: 1 sub-batch - alone / the wire": ((update - alone) / wire, 1.0),
    }
    hold_against(
        *(Target(what, float(np.median(ratio)), bound) for what, (ratio, bound) in ratios.items())
    )
    return 0  # launchers take anything else for a crash


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
