"""The directory of a search: its description, its journal, a table of its trials, and a run directory for each."""

from __future__ import annotations

import csv
import errno
import io
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tflbt.runs import atomic_file
from tflbt.runs.claimed_directory import ClaimedDirectory
from tflbt.runs.config import as_plain, to_json
from tflbt.runs.received import read_json
from tflbt.training.checkpoint import Checkpoints
from tflbt.tuning.study import BASELINE, Study

# What may change between the start of a search and its resumption: it may go on for longer, on other ranks.
MAY_DIFFER = ("max_trials", "ranks", "ranks_per_trial")
# Files by which a directory is recognised.
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


class SearchDirectory(ClaimedDirectory):
    """Where a search writes; use `create` for a new search and `open` to resume."""

    kind = "search"
    description_name = "search.json"
    written = (
        *("journal.jsonl", "trials.csv", "report.html", "best.json"),
        *("tensorboard", "trials", "figures"),
    )
    refusal = (
        "the search in {path} is another one: {changes}. Go on with what it was begun with, "
        "or give another directory."
    )

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.search_json = self.path / self.description_name
        self.journal = self.path / "journal.jsonl"
        self.trials_csv = self.path / "trials.csv"
        self.tensorboard = self.path / "tensorboard"

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        description: Mapping[str, Any] | None = None,
        may_differ: Collection[str] = MAY_DIFFER,
    ) -> SearchDirectory:
        """As `ClaimedDirectory.open`; writes down what differs and may."""
        search = super().open(path, description, may_differ)
        if description is not None and as_plain(description) != search.about:
            atomic_file.write(search.search_json, to_json(as_plain(description)))
        return search

    def _taken(self) -> str:
        """Returns the reason if there is a search or a run."""
        for name, kind in _MARKS.items():
            if (self.path / name).exists():
                hint = "; go on with it by --resume" if name == self.description_name else ""
                return f"{kind}{hint}, or give another directory"
        return ""

    @staticmethod
    def _comparable(description: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the description with its hyper-parameters by name, so that differences are short."""
        space = description.get("space")
        if not isinstance(space, dict) or not isinstance(space.get("space"), list):
            return description
        by_name: dict[str, Any] = {}
        for parameter in space["space"]:
            name, number = parameter["config"]["name"], 1
            while name in by_name:  # declared under another condition
                number += 1
                name = f"{parameter['config']['name']} ({number})"
            by_name[name] = {"kind": parameter["class_name"], **parameter["config"]}
        return {**description, "space": {**by_name, "order": [*by_name]}}

    @property
    def about(self) -> dict[str, Any]:
        """The content of `search.json`."""
        return read_json(self.search_json)

    def trial(self, number: int) -> Path:
        """Returns the run directory of a trial."""
        return self.path / "trials" / f"{number:04d}"

    def safe_epochs(self, number: int) -> float:
        """Returns how many of a trial's epochs a checkpoint holds; updates of the next one count as millionths."""
        epochs, updates = Checkpoints(self.trial(number) / "checkpoints").newest_place()
        return epochs + updates / 1e6 if updates else epochs

    def copy_trial(self, number: int, to: int) -> None:
        """Makes a trial begin where another ended, if that left any files; does nothing if it has begun."""
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
        """Removes the checkpoints of a trial that has ended and that no other trial continues."""
        shutil.rmtree(self.trial(number) / "checkpoints", ignore_errors=True)

    def write_table(self, study: Study) -> None:
        """Writes `trials.csv`, whole or not at all: one row per trial; the baseline has the recipe's own values."""
        names = list(dict.fromkeys(entry.name for entry in study.oracle.get_space().space))
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow([*COLUMNS[:-1], *names, COLUMNS[-1]])
        defaults = self.about.get("defaults", {})
        for number, trial in sorted(study.trials.items()):
            outcome = study.outcomes.get(number)
            values = defaults if number == BASELINE else trial.values
            table.writerow(
                [
                    number,
                    outcome.status if outcome else "running",
                    study.value(number),
                    study.best_epoch(number),
                    len(outcome.history) if outcome else "",
                    f"{outcome.seconds:.3f}" if outcome else "",
                    trial.continues,
                    *(values.get(name) for name in names),
                    " ".join(outcome.message.split()) if outcome else "",  # a row is a line
                ]
            )
        atomic_file.write(self.trials_csv, text.getvalue())
