"""How a recipe is tuned: a search in which every trial trains it with some of its keys changed."""

from __future__ import annotations

import json
import math
import os
import shlex
from pathlib import Path
from typing import Any

import keras_tuner
import ml_collections
from absl import logging

from tflbt import report
from tflbt.distributed import comm
from tflbt.recipes import build, run
from tflbt.recipes import space as recipe_space
from tflbt.recipes.data import Samples, build_samples
from tflbt.recipes.parts import USED_WITH
from tflbt.runs import directions, received
from tflbt.runs.config import as_plain, flatten
from tflbt.tuning import space as spaces
from tflbt.tuning.ledger import Result
from tflbt.tuning.search import Search
from tflbt.tuning.search_directory import SearchDirectory
from tflbt.tuning.trial import Trial
from tflbt.tuning.winner import write_winner


class RecipeTrainer:
    """Trains a recipe as a trial's hyper-parameters say; the data set stays loaded from trial to trial.

    Args:
        config: The recipe, with the values that are not searched.
        data_dir: Where the data sets lie.
        verbose: 1 shows every trial's epochs, 0 (default) nothing.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        data_dir: str | Path | None = None,
        verbose: int = 0,
    ) -> None:
        self.config, self.data_dir, self.verbose = config, data_dir, verbose
        self._samples: tuple[str, Samples] | None = None

    def __call__(self, trial: Trial, folder: Path, callbacks: list[Any]) -> None:
        """Trains into a run directory, or goes on with the one that is there."""
        config = spaces.apply(self.config, trial.values)
        self.train(config, folder, callbacks, start_over=True)

    def train(
        self,
        config: ml_collections.ConfigDict,
        folder: Path,
        callbacks: list[Any],
        start_over: bool = False,
    ) -> None:
        """Trains a configuration into a run directory, or goes on with the one that is there."""
        build.prepare_process(config)
        recipe = build.build(config, self.data_dir, samples=self._loaded(config))
        resume = comm.on_chief(lambda: (folder / "config.json").exists(), "tflbt.tuning.resume")
        directory = run.claim(folder, config, resume)
        how = {"resume": resume, "start_over": start_over}
        recipe.fit(callbacks, directory, **how, verbose=self.verbose)

    def _loaded(self, config: ml_collections.ConfigDict) -> Samples:
        """The samples, loaded anew only where the trial's hyper-parameters concern them."""
        concerned = [as_plain(config.data), config.batch_size, config.sub_batch_size]
        key = json.dumps(concerned, sort_keys=True)
        if self._samples is None or self._samples[0] != key:
            self._samples = None  # first let go of the old ones
            self._samples = key, build_samples(config, self.data_dir)
        return self._samples[1]


def tune_recipe(
    trainer: RecipeTrainer,
    space: str,
    workdir: str | os.PathLike[str],
    *,
    group: Any = None,
    **options: Any,
) -> Result:
    """Searches the space for the recipe's best values and writes the winner as a recipe; all ranks call it alike.

    `group` is this rank's process set, of `comm.init_groups`; `options` are more arguments of `tflbt.tuning.Search`.

    Raises:
        ValueError: If the space or the recipe cannot be, before anything is written.
    """
    config = trainer.config
    if config.elastic.max_ranks > 1:
        raise ValueError(
            f"config.elastic.max_ranks={config.elastic.max_ranks} cannot go with a search, whose ranks stay: use 1, "
            "which is off."
        )
    with comm.process_set_scope(group):
        build.check(config)
        searched: keras_tuner.HyperParameters = recipe_space.load(space, config)
        spaces.check(searched, config, build.check, USED_WITH)
    workdir = received.place(workdir)
    if options.get("direction") is None:
        objective = options.get("objective", Search.objective)
        said = directions.read(config.directions)
        options["direction"] = directions.of_column(objective, said)

    def write_best(trial: Trial, value: float) -> None:
        write_winner(
            workdir / "best.json",
            spaces.apply(config, trial.values),
            trial=trial.number,
            objective=search.objective,
            value=value,
        )

    defaults = spaces.defaults(searched, config)
    search = Search(
        workdir,
        searched,
        epochs=config.epochs,
        grace=_grace(config, searched),
        group=group,
        about={"name": config.name, "defaults": defaults, "config": as_plain(config)},
        may_differ=comm.on_chief(lambda: _may_differ(workdir, config), "tflbt.tuning.before"),
        write_best=write_best,
        **options,
    )
    return search.run(trainer)


def _may_differ(workdir: Path, config: ml_collections.ConfigDict) -> tuple[str, ...]:
    """What may change of the recipe if a search goes on: as for a run, also the keys that it does not know yet."""
    directory = SearchDirectory(workdir)
    before = directory.about.get("config") if directory.search_json.exists() else None
    new = run.new_defaults(flatten(before), config) if isinstance(before, dict) else ()
    return tuple(f"config.{key}" for key in (*run.MAY_DIFFER, *new))


def _grace(config: ml_collections.ConfigDict, searched: keras_tuner.HyperParameters) -> int:
    """The epoch before which no trial is hopeless: a third of all, or the end of the longest warm-up."""
    warmups = [config.warmup.epochs]
    for parameter in searched.space:
        if parameter.name == "warmup.epochs":
            warmups += [float(value) for value in parameter.values]
    return min(config.epochs, math.ceil(max(config.epochs / 3, *warmups)))


def report_search(workdir: str | os.PathLike[str], result: Result | None) -> None:
    """Prints what a search found and writes its page; on rank 0. A failure here must not hide how the search ended."""
    workdir = received.place(workdir)
    if result is not None:
        for line in summary(workdir, result):
            print(line, flush=True)
    if (workdir / "trials.csv").exists():
        try:
            print(f"report: {report.write_search(workdir)}", flush=True)
        except Exception as error:  # noqa: BLE001
            logging.error("the report could not be written: %s", error)


def summary(workdir: Path, result: Result) -> list[str]:
    """The lines that the screen shows at the end of a search."""
    if result.number is None:
        return [f"{result.trials} trials, none with an objective"]
    values = spaces.in_words(result.values)
    lines = [f"best: trial {result.number}, {result.objective:.5g}: {values}"]
    if result.killed:
        numbers = ", ".join(map(str, result.killed))
        lines.append(
            f"given up: trial {numbers}, whose job was killed again and again; if from outside, it might have won"
        )
    if result.baseline is not None:
        difference = result.objective - result.baseline  # type: ignore[operator]
        lines.append(f"the recipe as it is: {result.baseline:.5g} ({difference:+.5g} by tuning)")
    lines.append(
        f"train it: python -m tflbt.train --config={shlex.quote(str(workdir / 'best.json'))} "
        f"--workdir={shlex.quote(str(workdir / 'winner'))}"
    )
    return lines
