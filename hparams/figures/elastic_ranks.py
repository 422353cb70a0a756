"""Fig. 4 of the adaptive batch size paper in small: ABSA on ranks that follow its batch, against fixed ranks.

python hparams/figures/elastic_ranks.py DATA_DIR FOLDER             # three runs in turn; again: those not there yet
python hparams/figures/elastic_ranks.py DATA_DIR FOLDER --figure    # table and figure of the runs that are there

cifar10_resnet20.py:absa with ResNet-8 on the first 10,000 images of CIFAR-10, batches of 128 to 1,024, a core per rank,
256 samples of an update per rank: one rank, two ranks, and launch/elastic.sh from one to two. Writes elastic_ranks.png
beside this file. Its bars are the columns of metrics.csv, in which resizing is `seconds_joining`: no epoch's time.

The last line has a stricter measure, by the times of all updates. A turn is the time from an epoch's last update to the
end of the next epoch's first, less a usual update of that epoch, and less what metrics.csv has for curvature and
validation of the epoch that ended. What the turn at which ranks came costs beyond the median of the same run's other
turns (iterators, checkpoint, log) is resizing; the first update's wait for the new rank is in it. The share is of the
time from the first update to the last.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNS = {"1 rank": ["local.sh", "1"], "2 ranks": ["local.sh", "2"]}
RUNS["1 to 2 ranks"] = ["elastic.sh", "--max-ranks", "2", "--"]
TURNS = "updates.jsonl"


def train(options: argparse.Namespace) -> None:
    """What each rank of a run does."""
    import dataclasses

    import tensorflow as tf

    from tflbt import data, recipes
    from tflbt.distributed import comm, elastic_worker, membership
    from tflbt.recipes import build, run

    class Turns(tf.keras.callbacks.Callback):
        """Notes when each update of an epoch ended."""

        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            """Begins the epoch's list."""
            self.ends: list[float] = []

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            """Notes it."""
            self.ends.append(time.time())

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            """Writes it."""
            if comm.is_chief():
                with (options.workdir / TURNS).open("a") as file:
                    file.write(json.dumps([epoch, comm.size(), self.ends]) + "\n")

    config = recipes.load(f"{HERE.parent / 'cifar10_resnet20.py'}:absa")
    config.epochs, config.tail, config.precision = options.epochs, "update", "mixed_bfloat16"
    config.sub_batch_size, config.model.depth = 64, 8
    third = options.epochs / 3
    config.schedule.epochs = (round(1.5 * third), round(2 * third), round(8 / 3 * third))
    config.batch_schedule.update({"max_batch_size": 1024, "kappa": 2, "curvature_samples": 128})
    if membership.elastic():
        config.elastic.update({"max_ranks": 2, "samples_per_rank": 256})
    build.prepare_process(config)
    images = data.load("cifar10", options.data_dir)
    few, test = options.images, options.images // 5
    images = dataclasses.replace(
        images,
        x_train=images.x_train[:few],
        y_train=images.y_train[:few],
        x_test=images.x_test[:test],
        y_test=images.y_test[:test],
    )
    recipe = build.build(config, images=images)
    resume = elastic_worker.must_resume()  # where all ranks were lost
    recipe.fit([Turns()], run.claim(options.workdir, config, resume), resume=resume)


def resizing(workdir: Path) -> tuple[float, float, float]:
    """Seconds of resizing by the times of the updates, of a usual turn, and from the first update to the last."""
    from tflbt.runs.run_directory import RunDirectory

    epochs = [json.loads(line) for line in (workdir / TURNS).read_text().splitlines()]
    usual: list[float] = []
    at_changes: list[float] = []
    rows = RunDirectory(workdir).metrics.read()
    for row, (_, size, ends), (_, next_size, next_ends) in zip(rows, epochs, epochs[1:]):
        update = statistics.median([b - a for a, b in zip(next_ends, next_ends[1:])] or [0.0])
        measured = sum(row.get(f"seconds_{part}") or 0.0 for part in ("curvature", "validation"))
        turn = next_ends[0] - ends[-1] - update - measured
        (usual if size == next_size else at_changes).append(turn)
    turn = statistics.median(usual)
    return sum(at_changes) - turn * len(at_changes), turn, epochs[-1][2][-1] - epochs[0][2][0]


def draw(folder: Path) -> None:
    """Prints the table and writes the figure."""
    from tflbt.report import time_account, time_figure
    from tflbt.runs.history import History
    from tflbt.runs.run_directory import RunDirectory

    rows = {name: RunDirectory(folder / name).metrics.read() for name in RUNS}
    runs = {name: History(read) for name, read in rows.items()}
    print(time_account.table(runs))
    for name, read in rows.items():
        last = read[-1]
        print(f"{name}: {last['updates']:g} updates, accuracy {last['val_accuracy']:.3f}", end=", ")
        print("ranks by epoch", *(f"{row['ranks']:g}" for row in read), end=", ")
        print("batches", *(f"{row['batch_size']:g}" for row in read))
    spent, turn, whole = resizing(folder / "1 to 2 ranks")
    share = f"{spent:.2f} s of {whole:.0f} s, {spent / whole:.2%}"
    print(f"resizing by the updates' times: {share}; a usual turn takes {turn:.2f} s")
    time_figure.compare(runs).savefig(HERE / "elastic_ranks.png", dpi=90)


def main() -> None:
    """Trains what is not there yet, and draws it; or, under a launcher, is a rank."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data_dir")
    add("folder", type=Path)
    add("--figure", action="store_true", help="train nothing")
    add("--epochs", type=int, default=20)
    add("--images", type=int, default=10000, help="to train on; a fifth as many to test on")
    add("--workdir", type=Path, help=argparse.SUPPRESS)  # of a rank's run
    options = parser.parse_args()
    if options.workdir:
        train(options)
        return
    for name, launcher in {} if options.figure else RUNS.items():
        workdir = options.folder / name
        if workdir.exists():
            continue
        program = [sys.executable, __file__, *sys.argv[1:], f"--workdir={workdir}"]
        words = ["bash", str(ROOT / "launch" / launcher[0]), *launcher[1:], *program]
        one_core = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
        print(f"{name}: {' '.join(words)}", flush=True)
        subprocess.run(words, env={**os.environ, **one_core}, check=True)
    draw(options.folder)


if __name__ == "__main__":
    main()
