"""What `fit` costs beside its updates: the first of a model, and further ones, over plain Keras's.

python -m tflbt.benchmarks fits [--rounds N] [--further N] [--model dense|resnet20] [--mebibytes N]

Under horovodrun or mpirun the peer is plain Keras with Horovod's optimizer, its first fit with Horovod's broadcast; and
sharing many variables stands beside a single broadcast of as many bytes.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import init, is_chief, models, size
from tflbt.benchmarks.side_by_side import Target, hold_against, medians, parser_of
from tflbt.distributed import comm
from tflbt.training import LargeBatchModel

K = tf.keras
SAMPLES = 64  # of each rank: one update


def network(name: str) -> tf.keras.Model:
    """A dense network of four layers, or ResNet-20."""
    if name == "resnet20":
        return models.build("cifar_resnet", depth=20)
    outputs = inputs = K.Input([20])
    for _ in range(3):
        outputs = K.layers.Dense(32, "relu")(outputs)
    return K.Model(inputs, K.layers.Dense(5)(outputs))


def seconds_of_fits(name: str, ours: bool, further: int) -> list[float]:
    """The seconds of compiling a fresh model and its first fit, then of each further fit, of one update each."""
    ranks, callbacks = size(), []
    model = network(name)
    count = SAMPLES * (ranks if ours else 1)  # ours shares them out
    x = np.random.default_rng(0).normal(size=(count, *model.input_shape[1:])).astype("float32")
    y = np.arange(count) % 5
    options: dict[str, Any] = {"batch_size": count, "verbose": 0}
    begin = time.perf_counter()
    optimizer: Any = K.optimizers.SGD(0.01, momentum=0.9)
    if ours:
        model = LargeBatchModel.from_model(model)
    elif ranks > 1:
        hvd = importlib.import_module("horovod.tensorflow.keras")
        optimizer = hvd.DistributedOptimizer(optimizer)
        callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
    model.compile(optimizer, K.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
    times = []
    for _ in range(1 + further):
        model.fit(x, y, callbacks=callbacks, **options)
        end = time.perf_counter()
        times.append(end - begin)
        begin, callbacks = end, []
    return times


def seconds_of_sharing(mebibytes: int, rounds: int) -> tuple[float, float]:
    """The seconds of giving all ranks the chief's variables, and of one broadcast of their bytes."""
    hvd = importlib.import_module("horovod.tensorflow")
    variables = [tf.Variable(tf.zeros([2**18])) for _ in range(mebibytes)]
    variables += [tf.Variable(tf.zeros([64])) for _ in range(2 * mebibytes)]  # as of normalisation
    content = tf.zeros([mebibytes * 2**18])
    seconds = medians(
        {
            "broadcast": lambda: hvd.broadcast(content, root_rank=0, name="content"),
            "variables": lambda: comm.broadcast_variables(variables, "variables"),
        },
        rounds,
    )
    return seconds["variables"], seconds["broadcast"]


def main(argv: list[str]) -> int:
    """Measures, prints the figures and returns the exit status; ranks other than 0 print nothing."""
    parser = parser_of("fits", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of fresh models (default 5)")
    parser.add_argument("--further", type=int, default=8, help="fits of each model (default 8)")
    parser.add_argument("--model", choices=("dense", "resnet20"), default="dense")
    parser.add_argument("--mebibytes", type=int, default=200, help="of variables (default 200)")
    options = parser.parse_args(argv)
    init()
    first: dict[bool, list[float]] = {False: [], True: []}
    further: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(1 + options.rounds):
        for ours in (False, True):
            begin, *more = seconds_of_fits(options.model, ours, options.further)
            if turn:  # what is imported and started once does not count
                first[ours].append(begin)
                further[ours].extend(more)
    peer, mine = (statistics.median(first[ours]) for ours in (False, True))
    extra = statistics.median(further[True]) - statistics.median(further[False])
    several = size() > 1
    shared, single = seconds_of_sharing(options.mebibytes, options.rounds) if several else (0, 1)
    if not is_chief():
        return 0
    print(
        f"{options.model}, {size()} rank(s), medians of {options.rounds} rounds: first fit {mine:.2f} s, Keras's "
        f"{peer:.2f} s; further fits {1e3 * statistics.median(further[True]):.0f} ms, Keras's "
        f"{1e3 * statistics.median(further[False]):.0f} ms"
    )
    targets = [
        Target("first fit / Keras's", mine / peer, 1.5 if several else 1.3),
        Target("further fit beyond Keras's, ms", 1e3 * extra, 60 if several else 30),
    ]
    if several:
        what = f"sharing {options.mebibytes} MiB of variables / one broadcast"
        targets.append(Target(what, shared / single, 1.2))
    return hold_against(*targets)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
