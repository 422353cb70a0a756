"""What `fit` costs beside its updates: the first of a model, and further ones, over plain Keras's.

python -m tflbt.benchmarks fits [--rounds N] [--further N] [--model dense|resnet20] [--mebibytes N]
python -m tflbt.benchmarks fits --epochs N [--rounds N]  what passes between epochs over a `tf.data` pipeline instead

Under horovodrun or mpirun the peer is plain Keras with Horovod's optimizer, its first fit with Horovod's broadcast; and
sharing ResNet-50's variables and momentum (195 MiB) stands beside a single broadcast of their bytes, and one in place.
"""

from __future__ import annotations

import importlib
import itertools
import statistics
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import init, is_chief, models, size
from tflbt.benchmarks.side_by_side import Target, hold_against, parser_of
from tflbt.distributed import comm
from tflbt.distributed.broadcast import broadcast_variables
from tflbt.training import LargeBatchModel

K = tf.keras
SAMPLES = 64  # of each rank: one update
UPDATES = 500  # of an epoch over a pipeline
BROADCAST, OURS = "one hvd.broadcast of its bytes", "sharing it"


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


def seconds_of_sharing(mebibytes: int, rounds: int) -> dict[str, float]:
    """Median seconds of sharing ResNet-50 and its momentum, by us and by Horovod, and of one broadcast of its bytes."""
    hvd = importlib.import_module("horovod.tensorflow")
    resnet = models.resnet50()
    shapes = [v.shape for v in (*resnet.weights, *resnet.trainable_variables)]
    ends = itertools.accumulate(4 * shape.num_elements() for shape in shapes)
    shapes = [shape for shape, end in zip(shapes, ends) if end <= mebibytes * 2**20]
    variables = [tf.Variable(tf.zeros(shape), name=f"v{i}") for i, shape in enumerate(shapes)]
    content = tf.zeros([sum(shape.num_elements() for shape in shapes)])
    place = tf.Variable(tf.zeros_like(content))
    candidates = {
        BROADCAST: lambda: hvd.broadcast(content, root_rank=0, name="content"),
        "the same in place": lambda: broadcast_variables([place], "place", met=True),
        "hvd.broadcast_variables": lambda: hvd.broadcast_variables(variables, root_rank=0),
        OURS: lambda: broadcast_variables(variables, "variables", met=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(1 + rounds):
        for name, run in candidates.items():
            comm.all_reduce_sum([tf.zeros([])], "meeting")
            begin = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    ranks = comm.gather_objects(seconds, "seconds")
    of_last = {name: map(max, zip(*(each[name] for each in ranks))) for name in candidates}
    return {name: statistics.median(times) for name, times in of_last.items()}


class InEpochs(tf.keras.callbacks.Callback):
    """Adds up the seconds from the begin of each epoch to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """An epoch begins."""
        self.seconds -= time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """It has ended."""
        self.seconds += time.perf_counter()


def pipeline() -> tf.data.Dataset:
    """Batches as a user has them: shuffled, changed by as many threads as tf.data finds good, read ahead."""
    x = np.random.default_rng(0).normal(size=(UPDATES * SAMPLES, 20)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, np.arange(len(x)) % 5)).shuffle(1000)
    data = data.map(lambda a, b: (2 * a, b), num_parallel_calls=tf.data.AUTOTUNE)
    return data.batch(SAMPLES).prefetch(tf.data.AUTOTUNE)


def between_epochs(epochs: int, rounds: int) -> list[Target]:
    """Prints the seconds of fits over a pipeline, in epochs and between them, ours and plain Keras's in one process."""
    data, loss = pipeline(), K.losses.SparseCategoricalCrossentropy(from_logits=True)
    fitted = {"plain Keras": network("dense")}
    fitted["LargeBatchModel"] = LargeBatchModel.from_model(network("dense"))
    inside, whole = dict.fromkeys(fitted, 0.0), dict.fromkeys(fitted, 0.0)
    for model in fitted.values():
        model.compile("sgd", loss)
    for turn in range(1 + rounds):
        for name, model in fitted.items():
            spent, begin = InEpochs(), time.perf_counter()
            model.fit(data, epochs=epochs, verbose=0, callbacks=[spent])
            if turn:
                whole[name] += time.perf_counter() - begin
                inside[name] += spent.seconds
    share = {name: whole[name] / inside[name] - 1 for name in fitted}
    for name in fitted:
        print(f"{name:<16} {inside[name]:.2f} s in epochs, {share[name]:.3f} of it between them")
    return [Target("between epochs / in them", share["LargeBatchModel"], 0.05)]


def main(argv: list[str]) -> int:
    """Measures, prints the figures and returns the exit status; ranks other than 0 print nothing."""
    parser = parser_of("fits", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of fresh models (default 5)")
    parser.add_argument("--further", type=int, default=8, help="fits of each model (default 8)")
    parser.add_argument("--model", choices=("dense", "resnet20"), default="dense")
    parser.add_argument("--mebibytes", type=int, default=200, help="at most shared (default 200)")
    parser.add_argument("--epochs", type=int, help="of a pipeline, alone (default none)")
    options = parser.parse_args(argv)
    if options.epochs and comm.launched():
        parser.error("--epochs is measured in one process: leave the launcher out")
    if options.epochs:
        return hold_against(*between_epochs(options.epochs, options.rounds))
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
    sharing = seconds_of_sharing(options.mebibytes, options.rounds) if several else {}
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
    for name, taken in sharing.items():
        print(f"ResNet-50 with momentum, {name}: {1e3 * taken:.0f} ms")
    if several:
        targets.append(Target(f"{OURS} / {BROADCAST}", sharing[OURS] / sharing[BROADCAST], 1.2))
    missed = hold_against(*targets)
    return 0 if several else missed  # launchers take anything else for a crash


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
