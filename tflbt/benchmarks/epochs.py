"""What passes between the epochs of a `fit` over a `tf.data` pipeline, beside the epochs; plain Keras's beside it.

python -m tflbt.benchmarks epochs [--rounds N] [--epochs N] [--updates N]
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.benchmarks.side_by_side import Target, hold_against, parser_of
from tflbt.training import LargeBatchModel

K = tf.keras
BATCH, WIDTH = 64, 256


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


def model_of(ours: bool) -> tf.keras.Model:
    """Two dense layers, compiled."""
    model = K.Sequential([K.layers.Dense(WIDTH, "relu"), K.layers.Dense(10)])
    model.build([None, WIDTH])
    model = LargeBatchModel.from_model(model) if ours else model
    model.compile("sgd", K.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def pipeline(updates: int) -> tf.data.Dataset:
    """Batches as a user has them: shuffled, changed by as many threads as tf.data finds good, read ahead."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(updates * BATCH, WIDTH)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, generator.integers(0, 10, len(x))))
    data = data.shuffle(1000).map(lambda a, b: (2 * a, b), num_parallel_calls=tf.data.AUTOTUNE)
    return data.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def main(argv: list[str]) -> int:
    """Prints the seconds of both, and their shares."""
    parser = parser_of("epochs", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    parser.add_argument("--epochs", type=int, default=6, help="of a fit (default 6)")
    parser.add_argument("--updates", type=int, default=500, help="of an epoch (default 500)")
    options = parser.parse_args(argv)
    data = pipeline(options.updates)
    models = {"plain Keras": model_of(ours=False), "LargeBatchModel": model_of(ours=True)}
    inside, whole = dict.fromkeys(models, 0.0), dict.fromkeys(models, 0.0)
    for turn in range(1 + options.rounds):
        for name, model in models.items():
            spent, begin = InEpochs(), time.perf_counter()
            model.fit(data, epochs=options.epochs, verbose=0, callbacks=[spent])
            if turn:
                whole[name] += time.perf_counter() - begin
                inside[name] += spent.seconds
    share = {name: whole[name] / inside[name] - 1 for name in models}
    for name in models:
        between = whole[name] - inside[name]
        print(f"{name:<16} {inside[name]:7.2f} s in epochs, {between:6.2f} s between them")
    print(f"of plain Keras's epochs, what passes between them: {share['plain Keras']:.3f}")
    return hold_against(
        Target("between epochs / in them", share["LargeBatchModel"], 0.05),
        Target(
            "a fit / plain Keras's", whole["LargeBatchModel"] / whole["plain Keras"], 1.05
        ),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
