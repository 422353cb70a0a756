"""A hyper-parameter search as its files describe it: its space, its trials, and the best of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tflbt.checks import is_number

ROW_STATUSES = ("completed", "stopped", "diverged", "failed", "running")
_MAY_WIN = ("completed", "stopped")


@dataclasses.dataclass(frozen=True)
class TrialRow:
    """One row of `trials.csv`."""

    number: int  # from 1; 0 is the recipe before tuning
    status: str  # one of `ROW_STATUSES`
    objective: float  # the best value over the trial's epochs; NaN if there is none
    values: Mapping[str, Any]  # hyper-parameters by name, without those that the trial did not have
    best_epoch: int | None = None  # of the objective, from 1
    epochs: int = 0  # finished
    seconds: float = math.nan
    continues: int | None = None  # the trial whose training it continued
    message: str = ""  # why it failed

    @property
    def may_win(self) -> bool:
        """True if it ended with an objective; a trial that diverged or failed never wins."""
        return self.status in _MAY_WIN and math.isfinite(self.objective)

    @property
    def broken(self) -> bool:
        """True if it diverged or failed."""
        return self.status in ("diverged", "failed")


@dataclasses.dataclass(frozen=True)
class HyperParameter:
    """One entry of the space: KerasTuner's kind, whether it samples by logarithm, and its choices."""

    name: str
    kind: str = ""
    log: bool = False
    choices: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True)
class SearchHistory:
    """A search, as `search_files.read` returns it: `search.json`, and the trials in the order of their numbers.

    The trials are compared with the baseline, the recipe before tuning, which was trained first and never wins.
    """

    settings: Mapping[str, Any]
    trials: Sequence[TrialRow]
    baseline: TrialRow | None = None

    @property
    def largest(self) -> bool:
        """True if more of the objective is better."""
        return bool(self.settings["direction"] == "max")

    @property
    def objective(self) -> str:
        """The objective's name."""
        return str(self.settings["objective"])

    @property
    def name(self) -> str:
        """The recipe's name."""
        return str(self.settings.get("name") or "search")

    @property
    def best(self) -> TrialRow | None:
        """The winner so far, the first of equals; None if there is none."""
        candidates = [trial for trial in self.trials if trial.may_win]
        if not candidates:
            return None
        return (max if self.largest else min)(candidates, key=lambda trial: trial.objective)

    @property
    def best_so_far(self) -> list[float]:
        """The best objective up to each trial; NaN before the first."""
        better, so_far, best = max if self.largest else min, [], math.nan
        for trial in self.trials:
            if trial.may_win:
                best = trial.objective if math.isnan(best) else better(best, trial.objective)
            so_far.append(best)
        return so_far

    @property
    def gain(self) -> float | None:
        """How much better the best trial is than the recipe before tuning, at most 0 if it is not; None if unknown."""
        best, recipe = self.best, self.baseline
        if best is None or recipe is None or not recipe.may_win:
            return None
        return (best.objective - recipe.objective) * (1 if self.largest else -1)

    @property
    def counts(self) -> dict[str, int]:
        """The number of trials by status, without statuses that do not occur."""
        statuses = [trial.status for trial in self.trials]
        return {name: statuses.count(name) for name in ROW_STATUSES if name in statuses}

    @property
    def finished(self) -> list[TrialRow]:
        """The trials that are not running."""
        return [trial for trial in self.trials if trial.status != "running"]

    @property
    def rows(self) -> list[TrialRow]:
        """The trials, after the recipe before tuning if it was trained."""
        return [*([self.baseline] if self.baseline else []), *self.trials]

    @property
    def hyper_parameters(self) -> list[HyperParameter]:
        """The searched hyper-parameters: in the space's order, then those that only trials have; no fixed ones."""
        space = space_of(self.settings)
        names = dict.fromkeys([*space, *(name for trial in self.trials for name in trial.values)])
        parameters = [space.get(name, HyperParameter(name)) for name in names]
        return [parameter for parameter in parameters if parameter.kind != "Fixed"]

    def column(self, name: str) -> list[Any]:
        """Returns a hyper-parameter's value in each trial, None if a trial has none."""
        return [trial.values.get(name) for trial in self.trials]

    def numbers(self, name: str) -> list[float]:
        """Returns a hyper-parameter's distinct finite values in rising order; none if any is not a number."""
        values = [value for value in self.column(name) if value is not None]
        if not all(map(is_number, values)):
            return []
        return sorted({float(value) for value in values if math.isfinite(value)})


def space_of(settings: Mapping[str, Any]) -> dict[str, HyperParameter]:
    """Returns the hyper-parameters of KerasTuner's space by name, in its order; it may declare a name several times.

    Raises KeyError, TypeError or AttributeError if the space is not as KerasTuner writes it.
    """
    space: dict[str, HyperParameter] = {}
    for entry in (settings.get("space") or {}).get("space", ()):
        config = entry["config"]
        name = str(config["name"])
        before = space.get(name, HyperParameter(name)).choices
        log = str(config.get("sampling") or "").endswith("log")  # "log" and "reverse_log"
        choices = (*before, *config.get("values", ()))
        space[name] = HyperParameter(name, str(entry["class_name"]), log, choices)
    return space
