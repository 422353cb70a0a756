"""What a hyper-parameter search tells: its space, its trials, and the best of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

ROW_STATUSES = ("completed", "stopped", "diverged", "failed", "running")
_MAY_WIN = ("completed", "stopped")


@dataclasses.dataclass(frozen=True)
class TrialRow:
    """One row of `trials.csv`.

    Args:
        number: Counted from 1.
        status: One of `ROW_STATUSES`.
        objective: The best value over the trial's epochs; nan if it has none.
        values: Hyper-parameters by name; one that the trial did not have is not in it.
        best_epoch: The epoch of the objective, counted from 1; None if there is no objective.
        epochs: Epochs it finished.
        seconds: The time it took, in seconds; nan if it was not told.
        continues: The trial whose training it went on with; None if it began anew.
        message: Why it failed.
    """

    number: int
    status: str
    objective: float
    values: Mapping[str, Any]
    best_epoch: int | None = None
    epochs: int = 0
    seconds: float = math.nan
    continues: int | None = None
    message: str = ""

    @property
    def may_win(self) -> bool:
        """True if it came to an end with an objective; one that diverged or failed never wins."""
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
    """A search as its directory tells it; `search_files.read` gives one.

    Args:
        settings: What `search.json` holds.
        trials: In the order of their numbers.
        baseline: The recipe as it is, trained before them; default None. It is held against them and never wins.

    Example:
        >>> trials = [TrialRow(1, "completed", 0.9, {}), TrialRow(2, "diverged", 0.95, {})]
        >>> SearchHistory({"direction": "max", "objective": "val_accuracy"}, trials).best.number
        1
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
        """The name of what is searched for."""
        return str(self.settings["objective"])

    @property
    def name(self) -> str:
        """The recipe's name."""
        return str(self.settings.get("name") or "search")

    @property
    def best(self) -> TrialRow | None:
        """The winner so far, the first of equals."""
        able = [trial for trial in self.trials if trial.may_win]
        if not able:
            return None
        return (max if self.largest else min)(able, key=lambda trial: trial.objective)

    @property
    def best_so_far(self) -> list[float]:
        """For each trial the best objective up to it; nan before the first."""
        better, found, running = max if self.largest else min, [], math.nan
        for trial in self.trials:
            if trial.may_win:
                running = (
                    trial.objective if running != running else better(running, trial.objective)
                )
            found.append(running)
        return found

    @property
    def gain(self) -> float | None:
        """How much better the best trial is than the recipe as it is, 0 or less if it is not; None if not known."""
        best, recipe = self.best, self.baseline
        if best is None or recipe is None or not recipe.may_win:
            return None
        return (best.objective - recipe.objective) * (1 if self.largest else -1)

    @property
    def counts(self) -> dict[str, int]:
        """How many trials have each status, of those that any has."""
        all_of = [trial.status for trial in self.trials]
        return {status: all_of.count(status) for status in ROW_STATUSES if status in all_of}

    @property
    def finished(self) -> list[TrialRow]:
        """The trials that are not running."""
        return [trial for trial in self.trials if trial.status != "running"]

    @property
    def rows(self) -> list[TrialRow]:
        """The trials, and before them the recipe as it is if it was trained."""
        return [*([self.baseline] if self.baseline else []), *self.trials]

    @property
    def hyper_parameters(self) -> list[HyperParameter]:
        """What was searched: in the space's order, then what only the trials have; nothing fixed."""
        space = space_of(self.settings)
        names = dict.fromkeys([*space, *(name for trial in self.trials for name in trial.values)])
        found = [space.get(name, HyperParameter(name)) for name in names]
        return [one for one in found if one.kind != "Fixed"]

    def column(self, name: str) -> list[Any]:
        """Returns a hyper-parameter's value in each trial.

        Args:
            name: Its name.

        Returns:
            One value a trial, None where it has none.

        Example:
            >>> SearchHistory({}, [TrialRow(1, "running", math.nan, {"seed": 3})]).column("seed")
            [3]
        """
        return [trial.values.get(name) for trial in self.trials]

    def numbers(self, name: str) -> list[float]:
        """Returns the distinct values of a hyper-parameter that is a number.

        Args:
            name: Its name.

        Returns:
            Rising; empty if there is none, or if any is no number.

        Example:
            >>> trials = [TrialRow(n, "running", math.nan, {"seed": -n}) for n in (1, 2)]
            >>> SearchHistory({}, trials).numbers("seed")
            [-2.0, -1.0]
        """
        found = [value for value in self.column(name) if value is not None]
        if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in found):
            return []
        return sorted({float(value) for value in found if math.isfinite(value)})


def space_of(settings: Mapping[str, Any]) -> dict[str, HyperParameter]:
    """Returns the hyper-parameters of KerasTuner's space, which may tell one several times.

    Args:
        settings: What `search.json` holds.

    Returns:
        Hyper-parameters by name, in the space's order.

    Raises:
        KeyError: If the space is not as KerasTuner writes it; a TypeError or AttributeError likewise.

    Example:
        >>> entry = {"class_name": "Float", "config": {"name": "seed", "sampling": "log"}}
        >>> space_of({"space": {"space": [entry]}})["seed"].log
        True
    """
    found: dict[str, HyperParameter] = {}
    for entry in (settings.get("space") or {}).get("space", ()):
        config = entry["config"]
        name = config["name"]
        before = found.get(name, HyperParameter(name)).choices
        log = str(config.get("sampling") or "").endswith("log")  # "log" and "reverse_log"
        choices = (*before, *config.get("values", ()))
        found[name] = HyperParameter(name, entry["class_name"], log, choices)
    return found
