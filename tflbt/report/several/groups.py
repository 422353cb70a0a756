"""Runs put together that differ by their seed only, and what to call them beside the others."""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tflbt.runs.config import changes_result
from tflbt.runs.history import History, is_accuracy
from tflbt.runs.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of one configuration with different seeds.

    Args:
        name: The runs' name: recipe and variant, or the directory's where there is no configuration.
        settings: The configuration by dotted key, without the seed.
        histories: The epochs of each run, by its directory.
    """

    name: str
    settings: Mapping[str, Any]
    histories: Mapping[str, History]

    @property
    def metric(self) -> str | None:
        """The column of the metric to show, on validation data if there are any."""
        for history in self.histories.values():
            if (metric := history.metric) is not None:
                return f"val_{metric}" if history.has(f"val_{metric}") else metric
        return None

    def finals(self, column: str) -> list[float]:
        """Returns a column's value after the last epoch of each run; NaN where it diverged or there is none."""
        return [history.series(column)[-1] for history in self.histories.values()]


def by_seed(directories: Iterable[str | os.PathLike[str]]) -> list[Group]:
    """Reads runs and puts those together that differ by their seed only, in the order of their first.

    A directory that is named twice counts once. Runs without a configuration stand alone.

    Raises:
        ValueError: If two runs are the same, seed included: they would make a spread look small.
        FileNotFoundError: If a run has no epochs.
    """
    found: dict[Any, Group] = {}
    seeds: dict[tuple[Any, Any], str] = {}
    runs = {RunDirectory(place).path.resolve(): str(place) for place in directories}
    for path, place in runs.items():
        run = RunDirectory(path)
        history = run.history
        if not history.rows:
            raise FileNotFoundError(2, "no epochs to draw", str(run.metrics_csv))
        configuration = run.hyper_parameters
        settings = {k: v for k, v in configuration.items() if k != "seed" and changes_result(k)}
        key = repr(sorted(settings.items())) if settings else path
        group = found.setdefault(key, Group(run.name, settings, {}))
        seed = configuration.get("seed")
        if seed is not None and (other := seeds.get((key, seed))):
            raise ValueError(
                f"{other} and {place} have the same configuration, seed={seed} included: name one of them."
            )
        seeds[key, seed] = place
        assert isinstance(group.histories, dict)
        group.histories[place] = history
    return list(found.values())


def differing(groups: Sequence[Group]) -> list[str]:
    """Returns the settings in which groups differ, in the order of the configuration; `name` is none of them."""
    keys = dict.fromkeys(key for group in groups for key in group.settings)
    return [
        key
        for key in keys
        if key not in ("name", "variant")
        and len({repr(group.settings.get(key)) for group in groups}) > 1
    ]


def labels(groups: Sequence[Group], without: Iterable[str] = ()) -> list[str]:
    """Returns what to call each group: its name, and where several have that, the settings in which they differ.

    Args:
        groups: What stands in one figure.
        without: Settings that the figure shows in another way, such as its horizontal axis.
    """
    without = set(without)
    texts = []
    for group in groups:
        alike = [other for other in groups if other.name == group.name]
        keys = [key for key in differing(alike) if key not in without]
        texts.append(" ".join([group.name, *(f"{key}={group.settings.get(key)}" for key in keys)]))
    return texts


def of_seeds(group: Group) -> str:
    """Returns how many runs a mean is of, " (3 seeds)", "" for one."""
    count = len(group.histories)
    return f" ({count} seeds)" if count > 1 else ""


def deviation(values: Sequence[float]) -> float:
    """Returns the sample deviation, 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def accuracy_text(column: str, value: float) -> str:
    """Returns a value, in percent where the column is a share of samples."""
    return f"{100 * value:.2f}%" if is_accuracy(column) else f"{value:.4g}"
