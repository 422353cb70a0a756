"""The directory of a search: what it searches, its journal, a table of its trials, and a run directory for each."""

from __future__ import annotations

import csv
import errno
import io
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tflbt.runs import atomic_file, directory_lock
from tflbt.runs.config import as_plain, differences, read_json, to_json
from tflbt.runs.directory_lock import DirectoryLock
from tflbt.training.checkpoint import Checkpoints
from tflbt.tuning.study import BASELINE, Study
from tflbt.tuning.trial import Trial

# What may change between the start of a search and its resumption: it may go on for longer, on other ranks.
_MAY_DIFFER = ("max_trials", "ranks", "ranks_per_trial")
# Files that show whose directory it is.
_MARKS = {
    "search.json": "a search",
    "journal.jsonl": "a search without its search.json",
    "config.json": "a run",
    "metrics.csv": "a run",
}
# Columns of trials.csv; the hyper-parameters stand before the last.
COLUMNS = (
    "trial",
    "status",
    "objective",
    "best_epoch",
    "epochs",
    "seconds",
    "continues",
    "message",
)


class SearchDirectory:
    """Names the places of a search; use `create` for a new one and `open` for one that is there. Rank 0 writes.

    Either holds the directory's lock for as long as the object lives.

    Args:
        path: The directory; nothing is read or written yet.

    Example:
        >>> import tempfile
        >>> directory = SearchDirectory.create(tempfile.mkdtemp(), {"objective": "val_loss"})
        >>> directory.trial(7).name, directory.about["objective"]
        ('0007', 'val_loss')
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.search_json = self.path / "search.json"
        self.journal = self.path / "journal.jsonl"
        self.trials_csv = self.path / "trials.csv"
        self.tensorboard = self.path / "tensorboard"
        self._lock: DirectoryLock | None = None

    @classmethod
    def create(cls, path: str | os.PathLike[str], about: Mapping[str, Any]) -> SearchDirectory:
        """Makes the directory of a new search; one that holds nothing of a search or a run is taken as it is.

        Raises:
            FileExistsError: If it holds a search or a run, which stays untouched.
            BlockingIOError: If another process is writing there.
            ValueError: If something in `about` has no JSON form.
            OSError: If it cannot be made or written.
        """
        search = cls(path)
        text = to_json(as_plain(about))
        search._require_free()
        if search.path.exists() and not search.path.is_dir():
            raise NotADirectoryError(
                errno.ENOTDIR, "the search directory is a file", str(search.path)
            )
        try:
            search.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise atomic_file.naming(
                error, search.path, "cannot make the search directory"
            ) from error
        search._lock = directory_lock.hold(search.path)
        search._require_free()  # again: another job may have been quicker
        atomic_file.write(search.search_json, text)
        return search

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], about: Mapping[str, Any] | None = None
    ) -> SearchDirectory:
        """Opens the directory of a search that was begun before.

        Raises:
            FileNotFoundError: If there is none.
            BlockingIOError: If another process is writing there.
            ValueError: If `about` says another search; names every difference.
        """
        search = cls(path)
        if not search.search_json.exists():
            raise FileNotFoundError(
                errno.ENOENT,
                "no search to go on with here (search.json is missing); begin one without --resume",
                str(search.path),
            )
        before = search.about
        if about is None:
            search._lock = directory_lock.hold(search.path)
            return search
        now = as_plain(about)
        found = differences(_by_name(before), _by_name(now), _MAY_DIFFER)
        if found:
            raise ValueError(
                f"the search in {search.path} is another one: {'; '.join(found)}. Go on with what it was begun with, "
                "or give another directory."
            )
        search._lock = directory_lock.hold(search.path)
        if now != before:
            atomic_file.write(search.search_json, to_json(now))
        return search

    def _require_free(self) -> None:
        """Raises if the place is taken."""
        for name, what in _MARKS.items():
            if (self.path / name).exists():
                hint = "; go on with it by --resume" if name == "search.json" else ""
                raise FileExistsError(
                    errno.EEXIST,
                    f"this directory holds {what}{hint}, or give another directory",
                    str(self.path),
                )

    @property
    def about(self) -> dict[str, Any]:
        """What `search.json` says."""
        return read_json(self.search_json)

    def trial(self, number: int) -> Path:
        """The run directory of a trial."""
        return self.path / "trials" / f"{number:04d}"

    def safe_epochs(self, number: int) -> int:
        """Epochs of a trial that a checkpoint holds."""
        found = Checkpoints(self.trial(number) / "checkpoints").found()
        return max((int(path.name.rpartition("_")[2]) for path in found), default=0)

    def copy_trial(self, number: int, to: int) -> None:
        """Makes a trial begin where another ended, if that left anything; does nothing if it has begun.

        Raises:
            OSError: If it cannot be copied (no space); then there is no part of it.
        """
        source, target = self.trial(number), self.trial(to)
        if target.exists() or not source.exists():
            return
        draft = target.with_name(f".{target.name}")
        shutil.rmtree(draft, ignore_errors=True)
        try:
            shutil.copytree(source, draft)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise OSError(
                getattr(error, "errno", None) or errno.EIO,
                f"cannot copy trial {number}, which trial {to} goes on with: {error}",
                str(target),
            ) from error
        os.replace(draft, target)

    def drop_checkpoints(self, number: int) -> None:
        """Removes the checkpoints of a trial that has ended and that nothing goes on from."""
        shutil.rmtree(self.trial(number) / "checkpoints", ignore_errors=True)

    def write_table(self, study: Study) -> None:
        """Writes `trials.csv` anew, whole or not at all: a row a trial, in order of their numbers."""
        names: dict[str, None] = {}
        for one in study.oracle.get_space().space:
            names[one.name] = None
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow([*COLUMNS[:-1], *names, COLUMNS[-1]])
        defaults = self.about.get("defaults", {})
        for number, trial in sorted(study.trials.items()):
            outcome = study.outcomes.get(number)
            values = [_searched(trial, defaults, name) for name in names]
            table.writerow(
                [
                    number,
                    outcome.status if outcome else "running",
                    _cell(study.value(number)),
                    _cell(study.best_epoch(number)),
                    len(outcome.history) if outcome else "",
                    f"{outcome.seconds:.3f}" if outcome else "",
                    _cell(trial.continues),
                    *values,
                    " ".join(outcome.message.split()) if outcome else "",  # a row is a line
                ]
            )
        atomic_file.write(self.trials_csv, text.getvalue())


def _searched(trial: Trial, defaults: Mapping[str, Any], name: str) -> Any:
    """A hyper-parameter of a trial; of the baseline what the recipe itself has."""
    value = (defaults if trial.number == BASELINE else trial.values).get(name)
    return "" if value is None else value


def _by_name(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a search is, its hyper-parameters by name, so that a difference can be told in a few words."""
    space = about.get("space")
    if not isinstance(space, dict) or not isinstance(space.get("space"), list):
        return dict(about)
    named: dict[str, Any] = {}
    for one in space["space"]:
        name, number = one["config"]["name"], 1
        while name in named:  # under another condition
            number += 1
            name = f"{one['config']['name']} ({number})"
        named[name] = {"kind": one["class_name"], **one["config"]}
    return {**about, "space": {**named, "order": [*named]}}


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)
