"""How recipes are compared: each tuned with as many trials, then the best of each trained with several seeds."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from tflbt import report
from tflbt.distributed import comm
from tflbt.recipes.tune import RecipeTrainer, report_search, tune_recipe
from tflbt.report.comparison import Tuned, comparison_table, write_comparison
from tflbt.tuning import space as spaces
from tflbt.tuning.ledger import Result
from tflbt.tuning.search_directory import SearchDirectory


def compare_recipes(
    configs: Sequence[ml_collections.ConfigDict],
    space: str,
    workdir: str | os.PathLike[str],
    *,
    max_trials: int,
    seeds: int = 3,
    group: Any = None,
    data_dir: str | Path | None = None,
    verbose: int = 0,
    options: Mapping[str, Any] | None = None,
) -> list[Tuned]:
    """Tunes recipes with the same budget and trains each one's best with other seeds; all ranks call it alike.

    The trials of a recipe are in `WORKDIR/NAME/`, the trainings with other seeds in `WORKDIR/NAME/seeds/SEED/`, the
    table in `WORKDIR/comparison.csv` and `report.html`. The trainings evaluate on the test set also where the trials
    did on held-out training samples (`config.data.holdout`); what counts is the objective of their last epoch.

    Args:
        configs: The recipes, each with a name of its own.
        space: "hparams/spaces/FILE.py:NAME", for all of them.
        workdir: The directory; with the option `resume` what is there is gone on with.
        max_trials: Trials of each.
        seeds: Trainings of each one's best, at least 1: with the recipe's seed + 1, + 2 and so on.
        group: This rank's process set, of `comm.init_groups`, where ranks are split into groups.
        data_dir: Where the data sets lie.
        verbose: 1 shows every epoch, 0 (default) does not.
        options: More arguments of `tflbt.tuning.Search`.

    Returns:
        A row for each recipe, in their order.

    Raises:
        ValueError: If recipes have the same name, or space and recipe do not go together, or none of a recipe's trials
            has an objective.
        OSError: If a file cannot be read or written.
    """
    workdir, options = Path(workdir), dict(options or {})
    names = [config.name.replace(":", "-") or "recipe" for config in configs]
    if len(set(names)) < len(names):
        raise ValueError(f"compare has a recipe twice: {', '.join(names)}.")
    found = []
    for name, config in zip(names, configs):
        resume = options.get("resume") and comm.on_chief(
            lambda: (workdir / name / "search.json").exists(),  # noqa: B023
            "tflbt.compare.resume",
        )
        _tell(f"{config.name}: {max_trials} trials in {workdir / name}")
        trainer = RecipeTrainer(config, data_dir, verbose)
        result = tune_recipe(
            config, space, workdir / name,
            trainer=trainer, group=group, max_trials=max_trials, options={**options, "resume": bool(resume)},
        )  # fmt: skip
        if comm.is_chief():
            report_search(workdir / name, result)
        if result.number is None:
            raise ValueError(
                f"config.name={config.name!r}: none of its {result.trials} trials has an objective; see "
                f"{workdir / name / 'trials.csv'}."
            )
        found.append((name, config, trainer, result))
    groups = 1 if group is None else comm.size() // group.size()
    with comm.process_set_scope(group):
        _train_seeds(workdir, found, seeds, group, groups)
    comm.join()
    return comm.on_chief(lambda: _rows(workdir, found, seeds), "tflbt.compare.rows")


def _train_seeds(
    workdir: Path,
    found: Sequence[tuple[str, Any, RecipeTrainer, Result]],
    seeds: int,
    group: Any,
    groups: int,
) -> None:
    """Trains the winners; of several groups of ranks each takes its share."""
    tasks = [(one, seed) for one in found for seed in range(1, seeds + 1)]
    first = 0 if group is None else group.ranks[0] // comm.size()
    for (name, config, trainer, result), number in tasks[first::groups]:
        best = spaces.apply(config, result.values)
        best.seed, best.data.holdout = config.seed + number, 0
        _tell(f"{config.name}: the best with seed {best.seed}")
        folder = workdir / name / "seeds" / str(best.seed)
        try:
            trainer.train(best, folder, [])
        except FloatingPointError as error:
            _tell(str(error))


def _rows(
    workdir: Path, found: Sequence[tuple[str, Any, RecipeTrainer, Result]], seeds: int
) -> list[Tuned]:
    rows = []
    for name, config, _, result in found:
        about = SearchDirectory(workdir / name).about
        runs = [workdir / name / "seeds" / str(config.seed + one) for one in range(1, seeds + 1)]
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


def _tell(line: str) -> None:
    if comm.is_chief():
        print(line, flush=True)
