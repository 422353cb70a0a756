"""What a search costs beside its trials' training, whether memory grows, and trials a second in groups of ranks.

python -m tflbt.benchmarks tuning [--trials N] [--epochs N] [--tuner NAME] [--model NAME]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras_tuner

from tflbt.benchmarks.side_by_side import Target, hold_against, lines_of, parser_of, resident_mib
from tflbt.distributed.launcher import rank_by_launcher

COMMAND = [sys.executable, "-m", "tflbt.benchmarks", "tuning"]
SETTLED = 5  # trials after which memory should grow no more


def search(
    trials: int, epochs: int, tuner: str, model: str, ranks_per_trial: int | None = None
) -> list[Any]:
    """Runs a search of a small network on digits; returns (start, end, resident MiB) of each trial's training."""
    from tflbt import recipes
    from tflbt.distributed import comm

    group = comm.init_groups(ranks_per_trial) if ranks_per_trial else None
    from tflbt.recipes.tune import RecipeTrainer
    from tflbt.tuning.search import Search

    hparams = Path(__file__).resolve().parents[2] / "hparams"
    config = recipes.load(f"{hparams}/digits_resnet.py:lars")
    config.epochs, config.warmup.epochs, config.schedule.name = epochs, 0.0, "constant"
    config.model.name = model
    space = keras_tuner.HyperParameters()
    space.Float("optimizer.learning_rate", 0.1, 10.0, sampling="log")
    trainer, seen = RecipeTrainer(config), []

    def train(trial: Any, folder: Path, callbacks: list[Any]) -> None:
        begin = time.perf_counter()
        trainer(trial, folder, callbacks)
        seen.append((begin, time.perf_counter(), resident_mib()))

    with tempfile.TemporaryDirectory() as folder:
        shared = comm.broadcast_object(folder, "benchmark.folder")
        ranks: dict[str, Any] = {"ranks_per_trial": ranks_per_trial, "group": group}
        budget: dict[str, Any] = {"tuner": tuner, "max_trials": trials, "epochs": epochs}
        Search(shared, space, **budget, **ranks, verbose=0).run(train)
    return seen


def cost(trials: int, epochs: int, tuner: str, model: str) -> list[Target]:
    """Measures the seconds of a trial that are not its training, and the memory that later trials add."""
    seen = search(trials, epochs, tuner, model)
    # What tflbt.train would do too: the model built, pipeline and functions traced, epochs, checkpoints.
    training = statistics.median(end - begin for begin, end, _ in seen)
    # From the end of a trial's training to the start of the next: all that a search adds.
    overhead = statistics.median(after[0] - before[1] for before, after in zip(seen, seen[1:]))
    memory = [resident for _, _, resident in seen]
    print(f"{trials} trials of {epochs} epochs, {tuner}: medians")
    print(f"{'training':<48} {training:8.2f} s")
    print(f"{'beside the training':<48} {overhead:8.2f} s")
    targets = [Target("seconds of a trial beside its training", overhead, 0.5)]
    if trials > SETTLED:
        grown = memory[-1] - memory[SETTLED - 1]
        settled = f"{memory[SETTLED - 1]:.0f}, {memory[-1]:.0f} MiB"
        print(f"{'resident memory after 5 trials, after the last':<48} {settled}")
        targets.append(
            Target("MiB that each trial after the fifth adds", grown / (trials - SETTLED), 1.0)
        )
    return targets


def throughput(trials: int, epochs: int, model: str) -> list[Target]:
    """Measures trials per second of two ranks with one trial each, against one rank with as many cores."""
    launcher = shutil.which("horovodrun")
    if launcher is None:
        print("trials a second in groups: not measured, horovodrun is not on PATH")
        return []
    words = [f"--epochs={epochs}", f"--trials={trials}", f"--model={model}", "--print_rate"]
    program = [*COMMAND, *words]
    cores = max(1, len(os.sched_getaffinity(0)) // 2)
    both = [launcher, "-np", "2", "--gloo", *program, "--ranks_per_trial=1"]
    alone_rate, both_rate = (
        sum(float(line.split()[-1]) for line in lines_of(command) if "trials/s" in line)
        for command in (program, both)
    )
    print(f"{f'one rank with {cores} of the cores':<48} {60 * alone_rate:8.1f} trials/min")
    print(f"{'two ranks, a trial each':<48} {60 * both_rate:8.1f} trials/min")
    return [Target("trials/s of two ranks / of one", both_rate / alone_rate, 1.8, at_least=True)]


def main(argv: list[str]) -> int:
    """Prints the figures against their targets."""
    parser = parser_of("tuning", __doc__)
    parser.add_argument("--trials", type=int, default=30, help="trials (default 30)")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of each (default 4)")
    parser.add_argument("--tuner", default="RandomSearch", help="default RandomSearch")
    parser.add_argument("--model", default="digits_resnet", help="default digits_resnet")
    parser.add_argument("--print_rate", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--ranks_per_trial", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.print_rate:
        # Half of the cores for a rank and no more, as launchers bind ranks: threads would spread over all.
        cores = sorted(os.sched_getaffinity(0))
        half = max(1, len(cores) // 2)
        first = half * rank_by_launcher() % len(cores)
        os.sched_setaffinity(0, cores[first : first + half])
        budget = options.trials, options.epochs, options.tuner, options.model
        seen = search(*budget, options.ranks_per_trial)
        # Without the first trial, in which TensorFlow starts; of few trials a rank may have run that one or none.
        rate = (len(seen) - 1) / (seen[-1][1] - seen[0][1]) if len(seen) > 1 else 0.0
        print("trials/s", rate)
        return 0
    targets = cost(options.trials, options.epochs, options.tuner, options.model)
    return hold_against(*targets, *throughput(options.trials, options.epochs, options.model))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
