"""What growing the batch inside one fit costs: new traces, memory and time, while it doubles from 128 to 16,384.

python -m tflbt.benchmarks batch_growth [--samples N] [--largest N]
"""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.benchmarks.side_by_side import Target, hold_against, parser_of, resident_mib
from tflbt.training import LargeBatchModel

FIRST, LARGEST = 128, 16384
SUB_BATCH = 128


@dataclasses.dataclass
class Epoch:
    """What was measured in one epoch.

    Attributes:
        batch_size: Samples per update.
        updates: Updates in the epoch.
        traces: Traces of the train function so far.
        resident: MiB of the process at the epoch's end; NaN where the system does not say.
        change: Milliseconds that assigning the next batch size took; 0 in the last epoch.
    """

    batch_size: int
    updates: int
    traces: int
    resident: float
    change: float = 0.0


class Doubling(tf.keras.callbacks.Callback):
    """Doubles the batch size at each epoch's end, and records each epoch."""

    def __init__(self, largest: int) -> None:
        super().__init__()
        self.largest = largest
        self.epochs: list[Epoch] = []
        self._before = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measures the epoch, and the change after it."""
        model = self.model
        updates = int(model.optimizer.iterations)
        traces = model.train_tf_function.experimental_get_tracing_count()
        done = Epoch(model.batch_size, updates - self._before, traces, resident_mib())
        self._before = updates
        self.epochs.append(done)
        if model.batch_size < self.largest:
            begin = time.perf_counter()
            model.batch_size *= 2
            done.change = 1e3 * (time.perf_counter() - begin)


def grow(samples: int, largest: int) -> list[Epoch]:
    """Trains a two-layer network in one fit whose batch doubles each epoch from 128 to `largest`.

    Args:
        samples: Synthetic samples an epoch.
        largest: The last batch size, 128 times a power of two.

    Returns:
        One epoch per batch size, and two with the last, so that memory after the last growth is measured too.
    """
    generator = np.random.default_rng(0)
    x = generator.normal(size=(samples, 784)).astype("float32")
    y = generator.integers(0, 10, samples)
    inputs = tf.keras.Input([784])
    hidden = tf.keras.layers.Dense(256, activation="relu")(inputs)
    model = LargeBatchModel(inputs, tf.keras.layers.Dense(10)(hidden))
    model.compile(
        tf.keras.optimizers.SGD(0.01, momentum=0.9),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    doubling = Doubling(largest)
    epochs = (largest // FIRST).bit_length() + 1
    batches: dict[str, Any] = {"batch_size": FIRST, "sub_batch_size": SUB_BATCH}
    model.fit(x, y, **batches, epochs=epochs, verbose=0, callbacks=[doubling])
    return doubling.epochs


def targets(epochs: list[Epoch]) -> list[Target]:
    """The figures beside their bounds: traces after the first epoch, memory after the first growth, the change."""
    found = [
        Target("new traces of the train function", epochs[-1].traces - epochs[0].traces, 0),
        Target("ms for one change of the batch size, largest", max(e.change for e in epochs), 10),
    ]
    grown = [epoch.resident for epoch in epochs[1:]]
    if grown[0] == grown[0]:
        # 1%: what an allocator may keep or return between two measurements.
        growth = max(grown) / grown[0]
        found.append(Target("resident memory, largest / after the first growth", growth, 1.01))
    return found


def main(argv: list[str]) -> int:
    """Prints each epoch, and the figures against their targets."""
    parser = parser_of("batch_growth", __doc__)
    parser.add_argument(
        "--samples", type=int, default=LARGEST, help="samples an epoch (default 16384)"
    )
    parser.add_argument(
        "--largest", type=int, default=LARGEST, help="the last batch size (default 16384)"
    )
    options = parser.parse_args(argv)
    epochs = grow(options.samples, options.largest)
    print(f"One fit, {options.samples} samples an epoch, sub-batches of {SUB_BATCH}")
    print("batch size   updates   traces   resident MiB   ms to change it")
    for epoch in epochs:
        print(
            f"{epoch.batch_size:10,} {epoch.updates:9} {epoch.traces:8} {epoch.resident:14.1f} {epoch.change:17.3f}"
        )
    return hold_against(*targets(epochs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
