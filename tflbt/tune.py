r"""Searches a recipe's best learning rate, decay factor and whatever else a space lists, each trial on all ranks.

horovodrun -np 2 python -m tflbt.tune --config=hparams/digits_resnet.py:two_phase \
    --space=hparams/spaces/default.py --max_trials=12 --workdir=runs/search
python -m tflbt.tune ... --tuner=GridSearch --space=hparams/spaces/two_phase.py:table_7
horovodrun -np 4 python -m tflbt.tune ... --ranks_per_trial=1
horovodrun -np 2 python -m tflbt.tune ... --resume
horovodrun -np 2 python -m tflbt.tune --config=FILE.py:lars --compare=FILE.py:large_batch,FILE.py:two_phase ...

The work directory gets a run directory for every trial (trials/), trials.csv, TensorBoard's HParams, report.html, and
best.json, the winner as a recipe: python -m tflbt.train --config=WORKDIR/best.json --workdir=runs/winner

With --compare these recipes are tuned as well, with as many trials, in folders of their own; then the best of each is
trained with --seeds other seeds, and a table shows mean and spread.
"""

from __future__ import annotations

import ast
import sys
from typing import Any

from absl import flags, logging
from ml_collections import config_flags

from tflbt import command_line

flags.adopt_module_key_flags(command_line)  # so that --help shows them
_SPACE = flags.DEFINE_string(
    "space",
    "hparams/spaces/default.py",
    "What to search: hparams/spaces/FILE.py[:NAME], a Python file, which is run.",
)
_TUNER_OPTIONS = flags.DEFINE_multi_string(
    "tuner_option", [], "An argument of that tuner, as factor=3; may be given several times."
)
_COMPARE = flags.DEFINE_list(
    "compare", [], "More recipes, FILE.py:VARIANT,..., to tune with as many trials."
)
_SEEDS = flags.DEFINE_integer(
    "seeds", 3, "--compare: trainings of each recipe's best with seeds of their own.", 1
)
_RECIPE_FIRST = flags.DEFINE_bool(
    "recipe_first", True, "Begin with trial 0, the recipe as it is; not counted in --max_trials."
)
_TUNERS = ["RandomSearch", "BayesianOptimization", "Hyperband", "GridSearch"]
# The flags that `tune` and `compare` take by their own names.
_OPTIONS = (
    flags.DEFINE_integer(
        "max_trials", None, "The most trials; none: until the tuner has no more.", lower_bound=1
    ),
    flags.DEFINE_enum("tuner", "RandomSearch", _TUNERS, "KerasTuner's tuner."),
    flags.DEFINE_string("objective", "val_accuracy", "A column of metrics.csv."),
    flags.DEFINE_enum(
        "direction", None, ["max", "min"], "Which end of the objective is best; none: by its name."
    ),
    flags.DEFINE_integer("seed", 0, "Of the tuner; a recipe's own is --config.seed.", 0),
    flags.DEFINE_integer(
        "ranks_per_trial", None, "Ranks that train a trial together; none: all.", lower_bound=1
    ),
    flags.DEFINE_enum(
        "stop_hopeless",
        "never",
        ["never", "median"],
        "median: end trials that are worse than half of the finished ones were.",
    ),
    flags.DEFINE_enum(
        "keep_checkpoints", "best", ["best", "all"], "Whose checkpoints stay after the trial's end."
    ),
    flags.DEFINE_bool("epoch_lines", False, "Show a line for every epoch."),
    command_line.RESUME,
    command_line.DATA_DIR,
)


def tune(
    config: Any,
    space: str,
    workdir: Any,
    *,
    data_dir: str | None = None,
    epoch_lines: bool = False,
    ranks_per_trial: int | None = None,
    **options: Any,
) -> Any:
    """Tunes a recipe into a search directory; under Horovod every rank must call it alike.

    Args:
        config: A recipe's `ConfigDict`.
        space: "hparams/spaces/FILE.py:NAME".
        workdir: The search directory.
        data_dir: Where the data sets lie.
        epoch_lines: Show a line for every epoch; default False.
        ranks_per_trial: Ranks that train a trial together; default None: all.
        **options: More arguments of `tflbt.tuning.Search`, such as `max_trials`.

    Returns:
        A `tflbt.tuning.Result`.

    Raises:
        ValueError: If recipe, space or an option cannot be, the search to resume is another, or three trials in a row
            fail.
        OSError: If a file cannot be read or written.
    """
    group, (trainer,) = _start([config], data_dir, epoch_lines, ranks_per_trial)
    from tflbt.distributed import comm
    from tflbt.recipes.tune import report_search, tune_recipe

    chief = comm.is_chief()  # now, for after another rank's death Horovod could not say
    options.update(group=group, ranks_per_trial=ranks_per_trial)
    result = None
    try:
        result = tune_recipe(trainer, space, workdir, **options)
    finally:
        if chief:
            report_search(workdir, result)
    return result


def compare(
    configs: Any,
    space: str,
    workdir: Any,
    seeds: int,
    *,
    data_dir: str | None = None,
    epoch_lines: bool = False,
    ranks_per_trial: int | None = None,
    **options: Any,
) -> Any:
    """Tunes several recipes, `ConfigDict`s, with as many trials each and trains the best of each with several seeds.

    The other arguments and errors are those of `tune`; `max_trials` is needed. Returns the rows of the table,
    `tflbt.report.comparison.Tuned`.

    Raises:
        ValueError: As of `tune`, or if a recipe is there twice.
    """
    if options.get("max_trials") is None:
        raise ValueError("--compare needs --max_trials, the same for every recipe.")
    group, trainers = _start(configs, data_dir, epoch_lines, ranks_per_trial)
    from tflbt.recipes.compare import compare_recipes

    options.update(group=group, ranks_per_trial=ranks_per_trial)
    return compare_recipes(trainers, space, workdir, seeds=seeds, **options)


def _start(
    configs: Any, data_dir: str | None, epoch_lines: bool, ranks_per_trial: int | None
) -> Any:
    """Starts Horovod, in groups if asked for; returns this rank's group, and what trains each recipe."""
    from tflbt.distributed import comm

    group = None
    if ranks_per_trial is None:
        comm.init()
    else:
        group = comm.init_groups(ranks_per_trial)
    from tflbt.recipes.tune import RecipeTrainer

    return group, [RecipeTrainer(config, data_dir, int(epoch_lines)) for config in configs]


def options_of(words: list[str]) -> dict[str, Any]:
    """Reads "factor=3" and the like."""
    options = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"--tuner_option={word} must be NAME=VALUE, such as factor=3.")
        try:
            options[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            options[name] = value
    return options


def main() -> None:
    """Tunes what the flags say."""
    if not flags.FLAGS["verbosity"].present:
        # A schedule's every step, of every trial, is too much.
        logging.set_verbosity(logging.WARNING)
    options: dict[str, Any] = {flag.name: flag.value for flag in _OPTIONS}
    options.update(tuner_options=options_of(_TUNER_OPTIONS.value), baseline=_RECIPE_FIRST.value)
    if _COMPARE.value:
        configs = [command_line.CONFIG.value, *(_with_changes(name) for name in _COMPARE.value)]
        compare(configs, _SPACE.value, command_line.WORKDIR.value, _SEEDS.value, **options)
    else:
        tune(command_line.CONFIG.value, _SPACE.value, command_line.WORKDIR.value, **options)


def _with_changes(name: str) -> Any:
    """A recipe to compare, with the values that --config.KEY=VALUE changes in the first."""
    from tflbt import recipes

    config = command_line.set_names(recipes.load(name), sys.argv)
    for key, value in config_flags.get_override_values(flags.FLAGS["config"]).items():
        recipes.require_key(config, key)
        config.update_from_flattened_dict({key: value})
    return config


if __name__ == "__main__":
    command_line.run(main, required=("config", "workdir"))
