"""Table 2 of the two-phase paper in small: tunes two rates, trains every row of cifar10_resnet14.py, prints the table.

python hparams/figures/table_2.py DATA_DIR FOLDER          # all runs in turn; again: goes on where it was ended
python hparams/figures/table_2.py DATA_DIR FOLDER --table  # the table of the runs that are through

FOLDER/tune_VARIANT are the searches for the rates of SGD and LARS, of 5 trials of 6 epochs each on 5,000 training
images left out of training; FOLDER/VARIANT-SEED the runs, with the best rates. One process on one core at a time.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from tflbt import recipes
from tflbt.runs.run_directory import RunDirectory

RECIPE = Path(__file__).resolve().parents[1] / "cifar10_resnet14.py"
SEEDS = (0, 1)
# The middle of the rates that are tried, each twice the one before.
TUNED = {"large_batch": 0.4, "lars": 3.5}
# The row that is tuned for each, with the same shape in 6 epochs as in 15.
TUNED_AS = {"large_batch": "large_batch", "two_phase": "large_batch"}
TUNED_AS |= {"lars": "lars", "two_phase_lars": "lars"}
SHORT = ("--config.epochs=6", "--config.warmup.epochs=0.9", "--config.schedule.epochs=(3,4.5)")
SHORT += ("--config.data.holdout=5000", "--config.margin.every=0")
SHORT += ("--config.checkpoint.initial=False", "--config.checkpoint.keep_epochs=()")
COLUMNS = ("variant", "rate", "accuracy by seed", "mean ± deviation", "switch after", "decays")


def run(module: str, variant: str, folder: Path, data_dir: str, *flags: str) -> None:
    """Runs a command until it is through, going on with what the folder holds."""
    command = [sys.executable, "-m", module, f"--config={RECIPE}:{variant}", f"--workdir={folder}"]
    command += [f"--data_dir={data_dir}", *flags, *(["--resume"] if folder.exists() else [])]
    print(*command, flush=True)
    subprocess.run(command, check=True)


def at_rate(rate: float) -> tuple[str, ...]:
    """The flags of a learning rate at 8,192, to which the warm-up climbs from the small batch's."""
    return (
        f"--config.optimizer.learning_rate={rate}",
        f"--config.warmup.initial_factor={0.1 / rate}",
    )


def best_rate(search: Path) -> float:
    """The rate of a search's best trial."""
    return float(recipes.load(str(search / "best.json")).optimizer.learning_rate)


def train_all(data_dir: str, folder: Path) -> None:
    """Tunes and trains what is not there yet."""
    flags = (
        f"--space={RECIPE.parent}/spaces/default.py:learning_rate",
        "--tuner=GridSearch",
        "--norecipe_first",
    )
    flags += SHORT
    for variant, middle in TUNED.items():
        search = folder / f"tune_{variant}"
        run("tflbt.tune", variant, search, data_dir, *at_rate(middle), *flags)
    for seed in SEEDS:
        for variant in recipes.TABLE_ROWS:
            flags = (f"--config.seed={seed}",)
            if variant in TUNED_AS:
                flags += at_rate(best_rate(folder / f"tune_{TUNED_AS[variant]}"))
            run("tflbt.train", variant, folder / f"{variant}-{seed}", data_dir, *flags)


def print_table(folder: Path) -> None:
    """Prints a row a variant, of the runs that have all their epochs."""
    print("|", " | ".join(COLUMNS), "|\n|" + " --- |" * len(COLUMNS))
    for variant in recipes.TABLE_ROWS:
        ended = [
            (directory, rows)
            for directory in map(RunDirectory, sorted(folder.glob(f"{variant}-[0-9]*")))
            if len(rows := directory.metrics.read()) == directory.config["epochs"]
        ]
        if not ended:
            continue
        accuracies = [100 * rows[-1]["val_accuracy"] for _, rows in ended]
        spread = f" ± {statistics.stdev(accuracies):.1f}" if len(accuracies) > 1 else ""
        switches = [
            next((r["epoch"] for r in rows if r.get("phase") == "convergence"), "never")
            for _, rows in ended
        ]
        print(
            f"| {variant} | {ended[0][0].config['optimizer']['learning_rate']:g}",
            " ".join(f"{accuracy:.2f}" for accuracy in accuracies),
            f"{statistics.mean(accuracies):.1f}{spread}",
            " ".join(map(str, switches)),
            " ".join(f"{rows[-1]['decays']:g}" for _, rows in ended) + " |",
            sep=" | ",
        )


if __name__ == "__main__":
    if "--table" in sys.argv:
        print_table(Path(sys.argv[2]))
    else:
        train_all(sys.argv[1], Path(sys.argv[2]))
