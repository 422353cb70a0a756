"""How recipes are compared: each tuned with as many trials, then the best of each trained with several seeds."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tflbt import report
from tflbt.distributed import comm
from tflbt.recipes.tune import RecipeTrainer, report_search, tune_recipe
from tflbt.report.comparison import Tuned, comparison_table, write_comparison
from tflbt.runs import received
from tflbt.tuning import space as spaces
from tflbt.tuning.ledger import Result
from tflbt.tuning.search_directory import SearchDirectory

# The name of a recipe's folder, what trains the recipe, and its best trial.
_Winner = tuple[str, RecipeTrainer, Result]


def compare_recipes(
    trainers: Sequence[RecipeTrainer],
    space: str,
    workdir: str | os.PathLike[str],
    *,
    max_trials: int,
    seeds: int = 3,
    group: Any = None,
    resume: bool = False,
    **options: Any,
) -> list[Tuned]:
    """Tunes recipes with the same budget and trains each recipe's best with other seeds; all ranks call it alike.

    The trials of a recipe are in `WORKDIR/NAME/`, the trainings with `seeds` other seeds (the recipe's + 1, + 2, ...)
    in `WORKDIR/NAME/seeds/SEED/`, the table in `WORKDIR/comparison.csv` and `report.html`. The trainings evaluate on
    the test set also where the trials did on held-out training samples (`config.data.holdout`); what counts is the
    objective of their last epoch. `group` is this rank's process set, of `comm.init_groups`; `options` are more
    arguments of `tflbt.tuning.Search`. Returns a row for each recipe, in their order.

    Raises:
        ValueError: If recipes have the same name, or none of a recipe's trials has an objective.
    """
    workdir = received.place(workdir)
    names = [trainer.config.name.replace(":", "-") or "recipe" for trainer in trainers]
    if len(set(names)) < len(names):
        raise ValueError(f"compare has a recipe twice: {', '.join(names)}.")
    received.require_contained(workdir, [*names, "comparison.csv", "report.html", "figures"])
    winners = []
    for name, trainer in zip(names, trainers):
        folder, recipe = workdir / name, trainer.config.name
        started = resume and comm.on_chief((folder / "search.json").exists, "tflbt.compare.resume")
        _print(f"{recipe}: {max_trials} trials in {folder}")
        options.update(group=group, max_trials=max_trials, resume=bool(started))
        result = tune_recipe(trainer, space, folder, **options)
        if comm.is_chief():
            report_search(folder, result)
        if result.number is None:
            raise ValueError(
                f"config.name={recipe!r}: none of its {result.trials} trials has an objective; see "
                f"{folder / 'trials.csv'}."
            )
        winners.append((name, trainer, result))
    tasks = [(winner, number) for winner in winners for number in range(1, seeds + 1)]
    if group is not None:  # each group of ranks takes its share
        tasks = tasks[group.ranks[0] // group.size() :: comm.size() // group.size()]
    with comm.process_set_scope(group):
        _train_seeds(workdir, tasks)
    comm.join()
    return comm.on_chief(lambda: _rows(workdir, winners, seeds), "tflbt.compare.rows")


def _train_seeds(workdir: Path, tasks: Sequence[tuple[_Winner, int]]) -> None:
    """Trains winners, each with the number that is added to its recipe's seed."""
    for (name, trainer, result), number in tasks:
        config = trainer.config
        best = spaces.apply(config, result.values)
        best.seed, best.data.holdout = config.seed + number, 0
        _print(f"{config.name}: the best with seed {best.seed}")
        folder = workdir / name / "seeds" / str(best.seed)
        try:
            trainer.train(best, folder, [])
        except FloatingPointError as error:
            _print(str(error))


def _rows(workdir: Path, winners: Sequence[_Winner], seeds: int) -> list[Tuned]:
    """The table of the winners, printed and written."""
    rows = []
    for name, trainer, result in winners:
        config = trainer.config
        about = SearchDirectory(workdir / name).about
        own = range(config.seed + 1, config.seed + 1 + seeds)
        runs = [workdir / name / "seeds" / str(seed) for seed in own]
        rows.append(
            Tuned(
                name=config.name,
                trials=result.trials,
                best_trial=result.number or 0,
                values=result.values,
                tuned_objective=float(result.objective or math.nan),
                objective=about["objective"],
                direction=about["direction"],
                results=[_last(run, about["objective"]) for run in runs],
            )
        )
    print(comparison_table(rows), flush=True)
    print(f"comparison: {write_comparison(workdir, rows)}", flush=True)
    return rows


def _last(run: Path, objective: str) -> float:
    """The objective of a run's last epoch; NaN if it diverged."""
    value = report.RunDirectory(run).metrics.read()[-1].get(objective)
    return value if isinstance(value, float) else math.nan


def _print(line: str) -> None:
    """Prints a line on rank 0."""
    if comm.is_chief():
        print(line, flush=True)
