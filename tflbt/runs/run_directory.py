"""The directory of one training run: made once, never overwritten, opened again to resume."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from tflbt import checks
from tflbt.runs import atomic_file, directions, environment, received
from tflbt.runs.claimed_directory import ClaimedDirectory
from tflbt.runs.config import flatten, to_json
from tflbt.runs.history import History
from tflbt.runs.metrics import MetricsTable


@checks.arguments
class RunDirectory(ClaimedDirectory):
    """Where a run writes; `RunDirectory.create(path, config)` is for a new run, `RunDirectory.open(path)` to resume.

    A run continues exactly only under the configuration that it began with, so `open(path, config)` refuses any
    difference but in the keys of `may_differ`.

    Args:
        path: The directory; nothing is read or written yet.

    Attributes:
        claimed: True if `create` or `open` returned this object.
        config_json: The resolved configuration.
        environment_json: Versions, ranks, devices, command line.
        metrics_csv: One row per epoch.
        distance_csv: A row per measured distance from the initial weights, if there is a `DistanceMonitor`.
        tensorboard: TensorBoard's event files.
        checkpoints: Checkpoints of model, optimizer and callbacks.
        figures: Figures as PNG and SVG files.
        report_html: The page to look at.

    Example:
        >>> import tempfile
        >>> run = RunDirectory.create(tempfile.mkdtemp(), {"epochs": 3, "model": {"depth": 20}})
        >>> run.config
        {'epochs': 3, 'model': {'depth': 20}}
        >>> RunDirectory.open(run.path).metrics_csv.name
        'metrics.csv'
        >>> RunDirectory.open(run.path, {"epochs": 3, "model": {"depth": 32}})
        Traceback (most recent call last):
        ...
        ValueError: ...configuration: model.depth was 20, is now 32. Give ...
    """

    kind = "run"
    description_name = "config.json"
    written = (
        *("environment.json", "metrics.csv", "directions.json", "distance.csv"),
        *("report.html", "tensorboard", "checkpoints", "figures"),
    )
    refusal = (
        "{path}: cannot resume with another configuration: {changes}. "
        "Give the values the run began with, or another --workdir for a new run."
    )

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.config_json = self.path / self.description_name
        self.environment_json = self.path / "environment.json"
        self.directions_json = self.path / "directions.json"
        self.metrics_csv = self.path / "metrics.csv"
        self.distance_csv = self.path / "distance.csv"
        self.tensorboard = self.path / "tensorboard"
        self.checkpoints = self.path / "checkpoints"
        self.figures = self.path / "figures"
        self.report_html = self.path / "report.html"

    @property
    def holds_run(self) -> bool:
        """True if a run has left anything here that must not be overwritten."""
        ours = (self.config_json, self.metrics_csv, self.tensorboard, self.checkpoints)
        return any(place.exists() for place in (*ours, self.report_html))

    @property
    def config(self) -> dict[str, Any]:
        """The configuration in `config.json`, as a dictionary of plain values."""
        return received.read_json(self.config_json)

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """The configuration as dotted names to values; empty if there is no `config.json`."""
        return flatten(self.config) if self.config_json.exists() else {}

    @property
    def name(self) -> str:
        """The run's name for people: its recipe and variant, or else its directory's name."""
        settings = self.hyper_parameters
        parts = [str(settings[key]) for key in ("name", "variant") if settings.get(key)]
        return " · ".join(dict.fromkeys(parts)) or self.path.resolve().name

    @property
    def environment(self) -> dict[str, Any]:
        """The content of `environment.json`: where the run began."""
        return received.read_json(self.environment_json)

    @functools.cached_property
    def metrics(self) -> MetricsTable:
        """The table in `metrics.csv`."""
        return MetricsTable(self.metrics_csv)

    @property
    def history(self) -> History:
        """All that the run's tables say of it."""
        settings, ends = self.hyper_parameters, {}
        if self.directions_json.exists():
            ends = directions.read(received.read_json(self.directions_json).get("directions"))
        return History(
            self.metrics.read(),
            MetricsTable(self.distance_csv).read(),
            settings.get("warmup.epochs") or 0.0,
            {**ends, **directions.read(settings.get("directions"))},
        )

    def write_directions(self, items: list[str]) -> None:
        """Writes what the model's metrics know of their directions, such as ["mine:max"]; nothing if there are none."""
        if items or self.directions_json.exists():
            atomic_file.write(self.directions_json, to_json({"directions": items}))

    @staticmethod
    def _comparable(description: Mapping[str, Any]) -> Mapping[str, Any]:
        """Adds the key that the configurations of earlier versions do not have, with what they did."""
        return {"tail": "update", **description}

    def _taken(self) -> str:
        """Returns the reason if there is a run."""
        hint = "a run; continue it with --resume, or name another --workdir"
        return hint if self.holds_run else ""

    def _write_more(self) -> None:
        """Writes the environment."""
        atomic_file.write(self.environment_json, to_json(environment.describe()))

    def __fspath__(self) -> str:
        """Makes the object usable wherever a path is."""
        return str(self.path)

    def __repr__(self) -> str:
        """Shows the path."""
        return f"RunDirectory({str(self.path)!r})"
