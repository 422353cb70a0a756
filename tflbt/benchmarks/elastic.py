"""What it costs that ranks come, and that one dies: seconds without training, in one job on this machine.

python -m tflbt.benchmarks elastic [--rounds=5]

In every round a second rank joins, with a process that waits for it, and dies two epochs later. The network is tiny, so
that the figures are those of the machinery; the pause of a large one has its weights' broadcast in addition.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tflbt.benchmarks.side_by_side import Target, hold_against, parser_of

SUB_BATCH, SAMPLES = 8, 256
FOLDER = "TFLBT_BENCHMARK_FOLDER"


def train(folder: Path, rounds: int) -> None:
    """What each rank runs."""
    import numpy as np
    import tensorflow as tf

    import tflbt
    from tflbt import elastic
    from tflbt.distributed import comm

    class Rounds(tf.keras.callbacks.Callback):
        """Grows the batch when a process waits; ends the second rank in its second epoch; notes every update."""

        two = 0  # epochs of two ranks, since this rank took part in them

        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            """Sets the batch, by which a second rank is wanted or not."""
            self.two = self.two + 1 if comm.size() == 2 else 0
            waits = (folder / "launcher").read_text().count("waits for a place")
            wants_two = waits > (folder / "ranks").read_text().count("dies") or comm.size() == 2
            self.model.batch_size = 2 * SUB_BATCH if wants_two else SUB_BATCH
            time.sleep(0.0 if wants_two else 0.05)  # leaves the cores to the process that starts

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            """Notes the update; the second rank dies after some of its second epoch."""
            dies = self.two == 2 and comm.rank() == 1 and batch > 8
            note(folder, "dies" if dies else f"update {comm.size()}")
            if dies:
                os._exit(9)

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            """Ends the training after the last round."""
            if comm.size() == 1:
                self.model.stop_training = (folder / "ranks").read_text().count("dies") >= rounds

    tflbt.init()
    tf.keras.utils.set_random_seed(1)
    inputs = tf.keras.Input([8])
    hidden = tf.keras.layers.Dense(32, "relu")(inputs)
    model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(1)(hidden))
    model.compile(tf.keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    x = np.random.default_rng(0).normal(size=(SAMPLES, 8)).astype("float32")
    sizes = {"batch_size": SUB_BATCH, "sub_batch_size": SUB_BATCH, "samples_per_rank": SUB_BATCH}
    callbacks = [Rounds()]
    elastic.fit(model, x, x[:, :1], epochs=10**6, verbose=0, callbacks=callbacks, **sizes)


def note(folder: Path, what: str) -> None:
    """Adds an event with its time."""
    with (folder / "ranks").open("a") as file:
        file.write(f"{time.time():.4f} {what}\n")


def events(file: Path) -> list[tuple[float, str]]:
    """The events of a log, in the order of their times."""
    lines = [line.partition(" ") for line in file.read_text().splitlines()]
    return sorted((float(moment), what) for moment, _, what in lines)


def figures(folder: Path) -> dict[str, list[float]]:
    """Seconds of each round: of the pause as a rank joins, from the request on, and after the death."""
    ranks, launcher = events(folder / "ranks"), events(folder / "launcher")
    requests = [moment for moment, what in launcher if what.endswith("ranks that fit: 1,2")]
    found: dict[str, list[float]] = {"pause": [], "request": [], "death": []}
    died = None
    for (before, what), (moment, then) in zip(ranks, ranks[1:]):
        died = before if what == "dies" else died
        if what == "update 1" and then == "update 2":
            found["pause"].append(moment - before)
            found["request"].append(
                moment - max(request for request in requests if request < moment)
            )
        if died is not None and then == "update 1":
            found["death"].append(moment - died)
            died = None
    return found


def main(argv: list[str]) -> int:
    """Prints the medians against their targets, and the load of the machine."""
    parser = parser_of("elastic", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="times a rank joins and dies (5)")
    options = parser.parse_args(argv)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ranks").touch()
        launcher = [sys.executable, "-m", "tflbt.elastic.launcher", "--max-ranks", "2", "--log"]
        program = [sys.executable, "-m", "tflbt.benchmarks.elastic", str(options.rounds)]
        subprocess.run(
            [*launcher, str(folder / "launcher"), "--", *program],
            env={**os.environ, FOLDER: name},
            check=True,
        )
        found = figures(folder)
    print(f"{options.rounds} rounds; load of the machine {load:.1f} at the start")
    for name, seconds in found.items():
        print(f"{name:<10}" + "".join(f"{value:8.2f}" for value in seconds))
    median = {name: statistics.median(seconds) for name, seconds in found.items()}
    return hold_against(
        Target("s without training as a second rank joins", median["pause"], 0.5),
        Target("s from the request to its first update", median["request"], 1.5),
        Target("s from a death to the survivor's next update", median["death"], 1.0),
    )


if __name__ == "__main__":
    if FOLDER in os.environ:  # a rank's process
        train(Path(os.environ[FOLDER]), int(sys.argv[1]))
    else:
        sys.exit(main(sys.argv[1:]))
