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
from tflbt.tuning import space as spaces
from tflbt.tuning.ledger import Result
from tflbt.tuning.search_directory import SearchDirectory


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

    The trials of a recipe are in `WORKDIR/NAME/`, the trainings with other seeds in `WORKDIR/NAME/seeds/SEED/`, the
    table in `WORKDIR/comparison.csv` and `report.html`. The trainings evaluate on the test set also where the trials
    did on held-out training samples (`config.data.holdout`); what counts is the objective of their last epoch.

    Args:
        trainers: Of the recipes, each with a name of its own.
        space: "hparams/spaces/FILE.py:NAME", for all of them.
        workdir: The directory.
        max_trials: Trials of each.
        seeds: Trainings of each recipe's best, at least 1: with the recipe's seed + 1, + 2 and so on.
        group: This rank's process set, of `comm.init_groups`, where ranks are split into groups.
        resume: Go on with what the directory holds.
        **options: More arguments of `tflbt.tuning.Search`.

    Returns:
        A row for each recipe, in their order.

    Raises:
        ValueError: If recipes have the same name, or space and recipe do not go together, or none of a recipe's trials
            has an objective.
        OSError: If a file cannot be read or written.
    """
    workdir = Path(workdir)
    names = [trainer.config.name.replace(":", "-") or "recipe" for trainer in trainers]
    if len(set(names)) < len(names):
        raise ValueError(f"compare has a recipe twice: {', '.join(names)}.")
    found = []
    for name, trainer in zip(names, trainers):
        folder, recipe = workdir / name, trainer.config.name
        started = resume and comm.on_chief(
            lambda: (folder / "search.json").exists(),  # noqa: B023
            "tflbt.compare.resume",
        )
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
        found.append((name, trainer, result))
    groups = 1 if group is None else comm.size() // group.size()
    with comm.process_set_scope(group):
        _train_seeds(workdir, found, seeds, group, groups)
    comm.join()
    return comm.on_chief(lambda: _rows(workdir, found, seeds), "tflbt.compare.rows")


def _train_seeds(
    workdir: Path,
    found: Sequence[tuple[str, RecipeTrainer, Result]],
    seeds: int,
    group: Any,
    groups: int,
) -> None:
    """Trains the winners; each of several groups of ranks takes its share."""
    tasks = [(winner, seed) for winner in found for seed in range(1, seeds + 1)]
    first = 0 if group is None else group.ranks[0] // comm.size()
    for (name, trainer, result), number in tasks[first::groups]:
        config = trainer.config
        best = spaces.apply(config, result.values)
        best.seed, best.data.holdout = config.seed + number, 0
        _print(f"{config.name}: the best with seed {best.seed}")
        folder = workdir / name / "seeds" / str(best.seed)
        try:
            trainer.train(best, folder, [])
        except FloatingPointError as error:
            _print(str(error))


def _rows(
    workdir: Path, found: Sequence[tuple[str, RecipeTrainer, Result]], seeds: int
) -> list[Tuned]:
    """The table of the winners, printed and written."""
    rows = []
    for name, trainer, result in found:
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
    row = report.RunDirectory(run).metrics.read()[-1]
    value = row.get(objective)
    return value if isinstance(value, float) else math.nan


def _print(line: str) -> None:
    """Prints a line on rank 0."""
    if comm.is_chief():
        print(line, flush=True)
