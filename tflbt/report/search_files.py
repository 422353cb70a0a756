"""Reads the files of a hyper-parameter search, search.json and trials.csv, also while it is going on."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tflbt.report.search_history import (
    ROW_STATUSES,
    HyperParameter,
    SearchHistory,
    TrialRow,
    space_of,
)
from tflbt.runs.config import read_json
from tflbt.runs.metrics import MetricsTable

_COLUMNS = ("trial", "status", "objective", "best_epoch", "epochs", "seconds", "continues")
_LAST_COLUMN = "message"
_BASELINE = 0  # the row of the recipe as it is, before anything is changed


def read(directory: str | os.PathLike[str]) -> SearchHistory:
    """Reads `search.json` and `trials.csv` of a search, which may be going on.

    Args:
        directory: The search's directory.

    Returns:
        The search; at least a trial, or the recipe as it is (row 0).

    Raises:
        FileNotFoundError: If there is no search, or it has not begun a trial; names the file.
        ValueError: If a file is damaged; names it, and the trial.
        OSError: If a file cannot be read.

    Example:
        >>> read("nowhere")
        Traceback (most recent call last):
        ...
        FileNotFoundError: [Errno 2] no search here: 'nowhere/search.json'
    """
    search_json, trials_csv = Path(directory) / "search.json", Path(directory) / "trials.csv"
    if not search_json.exists():
        raise FileNotFoundError(2, "no search here", str(search_json))
    settings = read_json(search_json)
    if settings.get("direction") not in ("max", "min") or not settings.get("objective"):
        raise ValueError(
            f"{search_json} is damaged: it needs an objective, and a direction of max or min. "
            "Restore it from a copy."
        )
    try:
        space = space_of(settings)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{search_json} is damaged: its space is not what KerasTuner writes ({error!r})."
        ) from error
    rows = MetricsTable(trials_csv).read()
    if not rows:
        raise FileNotFoundError(
            2, "no trials to report on; the table has a row after the first has begun", str(trials_csv)
        )  # fmt: skip
    trials = []
    for line, row in enumerate(rows, start=2):
        try:
            trials.append(_trial(row, space))
        except (KeyError, TypeError, ValueError) as error:
            problem = f"no column {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{trials_csv}, line {line}: {problem}") from error
    baseline = next((trial for trial in trials if trial.number == _BASELINE), None)
    trials = sorted((t for t in trials if t is not baseline), key=lambda trial: trial.number)
    return SearchHistory(settings, trials, baseline)


def _trial(row: Mapping[str, Any], space: Mapping[str, HyperParameter]) -> TrialRow:
    """A row of the table, its values as the space has them."""
    if row["status"] not in ROW_STATUSES:
        raise ValueError(f"status={row['status']!r} is none of {', '.join(ROW_STATUSES)}.")
    names = [name for name in row if name in space or name not in (*_COLUMNS, _LAST_COLUMN)]
    # What the recipe itself has need not be in the space.
    given = {} if row["trial"] == _BASELINE else space
    values = {name: _value(given.get(name), name, row[name]) for name in names}
    return TrialRow(
        number=int(row["trial"]),
        status=row["status"],
        objective=_number("objective", row["objective"], math.nan),
        values={name: value for name, value in values.items() if value is not None},
        best_epoch=row.get("best_epoch"),
        epochs=int(row.get("epochs") or 0),
        seconds=_number("seconds", row.get("seconds"), math.nan),
        continues=row.get("continues"),
        message=str(row.get(_LAST_COLUMN) or ""),
    )


def _value(one: HyperParameter | None, name: str, value: Any) -> Any:
    """A cell as the space's own value: the choice it stands for, a boolean, a number."""
    if value is None or one is None:
        return value
    if one.kind == "Boolean":
        return _same(value, (False, True), name)
    if one.kind in ("Choice", "Fixed"):
        return _same(value, one.choices, name) if one.choices else value
    return _number(name, value, None)


def _same(value: Any, choices: Iterable[Any], name: str) -> Any:
    """The choice whose text the cell held."""
    for choice in choices:
        if str(choice) == str(value) or (choice == value and not isinstance(choice, bool)):
            return choice
    raise ValueError(f"{name}={value!r} is none of the space's {list(choices)}.")


def _number(name: str, value: Any, empty: Any) -> Any:
    """A cell that holds a number, or nothing."""
    if value is None:
        return empty
    if not isinstance(value, (int, float)):
        raise ValueError(f"{name}={value!r} is no number.")
    return value
