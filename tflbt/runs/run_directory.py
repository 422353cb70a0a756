"""The directory of one training run: made once, never overwritten, opened again to resume."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tflbt.runs import atomic_file, directory_lock, environment
from tflbt.runs.config import as_plain, differences, flatten, read_json, to_json
from tflbt.runs.directory_lock import DirectoryLock
from tflbt.runs.metrics import MetricsTable


class RunDirectory:
    """Where one run keeps what it did; the constructor only names the places.

    Use `create` for a new run and `open` for one that is there. Only the chief rank writes. Either
    holds the directory's lock for as long as the object lives, so that two jobs (a requeued one and
    the one it should follow) never write into one directory.

    Args:
        path: The directory; nothing is read or written yet.

    Example:
        >>> import tempfile
        >>> run = RunDirectory.create(tempfile.mkdtemp(), {"epochs": 3, "model": {"depth": 20}})
        >>> run.config
        {'epochs': 3, 'model': {'depth': 20}}
        >>> run.metrics_csv.name, run.checkpoints.name
        ('metrics.csv', 'checkpoints')
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Takes the path."""
        self.path = Path(path)
        #: True if `create` or `open` gave this object, so that its rows are known to be this
        #: run's to continue; False for a bare path, where they may be somebody's result.
        self.claimed = False
        self._lock: DirectoryLock | None = None

    @classmethod
    def create(cls, path: str | os.PathLike[str], config: Mapping[str, Any]) -> RunDirectory:
        """Makes the directory of a new run, with `config.json` and `environment.json`.

        A directory that exists and holds no run (empty, or with other files such as a scheduler's
        log) is fine.

        Args:
            path: The directory; missing parents are made.
            config: The resolved configuration: names to values that JSON can hold (nested
                dictionaries, lists and tuples too), or an `ml_collections.ConfigDict`.

        Returns:
            The run directory.

        Raises:
            FileExistsError: If the directory holds a run already; that run is untouched.
            BlockingIOError: If another process is writing there.
            ValueError: If a configuration value has no JSON form; names the key.
            OSError: If the directory cannot be made or written; names the path.

        Example:
            >>> import tempfile
            >>> where = Path(tempfile.mkdtemp()) / "runs" / "first"
            >>> RunDirectory.create(where, {"seed": 1}).config_json.exists()
            True
        """
        run = cls(path)
        text = to_json(as_plain(config))
        run._require_free()
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise atomic_file.naming(error, run.path, "cannot make the run directory") from error
        run._lock = directory_lock.hold(run.path)
        run._require_free()  # again: another job may have been quicker
        # config.json last: a directory that has it has everything a resumed run reads.
        atomic_file.write(run.environment_json, to_json(environment.describe()))
        atomic_file.write(run.config_json, text)
        run.claimed = True
        return run

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        config: Mapping[str, Any] | None = None,
        may_differ: Collection[str] = (),
    ) -> RunDirectory:
        """Opens the directory of a run that was started before, to go on with it; changes nothing in it.

        Args:
            path: The directory.
            config: The configuration asked for now; None takes the run's own. A run only
                continues exactly under the configuration it began with, so any difference is an
                error, but for the keys in `may_differ`.
            may_differ: Dotted keys (``"data.folder"``) whose values may have changed.

        Returns:
            The run directory.

        Raises:
            FileNotFoundError: If there is no run in the directory.
            BlockingIOError: If another process is writing there.
            ValueError: If `config.json` is damaged, or differs from `config`; names every key
                with its old and new value.
            OSError: If the directory cannot be read.

        Example:
            >>> import tempfile
            >>> run = RunDirectory.create(tempfile.mkdtemp(), {"model": {"depth": 20}})
            >>> RunDirectory.open(run.path).config
            {'model': {'depth': 20}}
            >>> RunDirectory.open(run.path, {"model": {"depth": 32}})
            Traceback (most recent call last):
            ...
            ValueError: ...configuration: model.depth was 20, is now 32. Give ...
        """
        run = cls(path)
        if not run.config_json.exists():
            raise FileNotFoundError(
                2,
                "no run to open here (config.json is missing); start one without --resume",
                str(run.path),
            )
        before = run.config
        changes = differences(before, before if config is None else as_plain(config), may_differ)
        if changes:
            raise ValueError(
                f"{run.path}: cannot resume with another configuration: {'; '.join(changes)}. "
                "Give the values the run began with, or another --workdir for a new run."
            )
        run._lock = directory_lock.hold(run.path)
        run.claimed = True
        return run

    def _require_free(self) -> None:
        """Raises if the place is taken."""
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(20, "the run directory is a file", str(self.path))
        if self.holds_run:
            raise FileExistsError(
                17,
                "this directory holds a run; continue it with --resume, or name another --workdir",
                str(self.path),
            )

    @property
    def holds_run(self) -> bool:
        """True if a run has left anything here that must not be written over."""
        ours = (self.config_json, self.metrics_csv, self.tensorboard, self.checkpoints)
        return any(place.exists() for place in (*ours, self.report_html))

    @property
    def config(self) -> dict[str, Any]:
        """The configuration in `config.json`, as a dictionary of plain values."""
        return read_json(self.config_json)

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """The configuration as dotted names to values; empty if there is no `config.json`."""
        return flatten(self.config) if self.config_json.exists() else {}

    @property
    def name(self) -> str:
        """What a person calls the run: its recipe and variant, or else its directory's name."""
        settings = self.hyper_parameters
        parts = [str(settings[key]) for key in ("name", "variant") if settings.get(key)]
        return " · ".join(dict.fromkeys(parts)) or self.path.resolve().name

    @property
    def environment(self) -> dict[str, Any]:
        """What `environment.json` says about where the run began."""
        return read_json(self.environment_json)

    @property
    def metrics(self) -> MetricsTable:
        """The table in `metrics.csv`."""
        return MetricsTable(self.metrics_csv)

    @property
    def config_json(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.json"

    @property
    def environment_json(self) -> Path:
        """Versions, ranks, devices, command line."""
        return self.path / "environment.json"

    @property
    def metrics_csv(self) -> Path:
        """A row an epoch."""
        return self.path / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of model, optimizer and callbacks."""
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        """Figures as PNG and SVG files."""
        return self.path / "figures"

    @property
    def report_html(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"

    def __fspath__(self) -> str:
        """Makes the object usable wherever a path is."""
        return str(self.path)

    def __repr__(self) -> str:
        """Shows the path."""
        return f"RunDirectory({str(self.path)!r})"
