"""Reads the files of a hyper-parameter search, search.json and trials.csv, also while it is in progress."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tflbt.checks import one_of
from tflbt.report import search_history
from tflbt.report.search_history import HyperParameter, SearchHistory, TrialRow
from tflbt.runs.metrics import MetricsTable
from tflbt.runs.received import read_json

_COLUMNS = ("trial", "status", "objective", "best_epoch", "epochs", "seconds", "continues")
_LAST_COLUMN = "message"
_BASELINE = 0  # the row of the recipe before tuning
_LARGEST = 1e300  # of what figures can show
_MOST = 10**15  # of trials and epochs; as `tflbt.runs.metrics` takes


def read(directory: str | os.PathLike[str]) -> SearchHistory:
    """Reads `search.json` and `trials.csv` of a search, which may be in progress but must have begun a trial."""
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
        space = search_history.space_of(settings)
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
    """Returns a row of the table, with its values as the space has them."""
    one_of("status", row["status"], search_history.ROW_STATUSES)
    names = [name for name in row if name in space or name not in (*_COLUMNS, _LAST_COLUMN)]
    # The recipe's own values need not be in the space.
    declared = {} if row["trial"] == _BASELINE else space
    values = {name: _value(declared.get(name), name, row[name]) for name in names}
    return TrialRow(
        number=_whole("trial", row["trial"]),
        status=row["status"],
        objective=_number("objective", row["objective"], math.nan),
        values={name: value for name, value in values.items() if value is not None},
        best_epoch=_whole("best_epoch", row.get("best_epoch"), None),
        epochs=_whole("epochs", row.get("epochs"), 0),
        seconds=_number("seconds", row.get("seconds"), math.nan),
        continues=_whole("continues", row.get("continues"), None),
        message=str(row.get(_LAST_COLUMN) or ""),
    )


def _value(parameter: HyperParameter | None, name: str, value: Any) -> Any:
    """Returns a cell as the space's own value: the choice that it stands for, a boolean, or a number."""
    if value is None or parameter is None:
        return value
    if parameter.kind == "Boolean":
        return _same(value, (False, True), name)
    if parameter.kind in ("Choice", "Fixed"):
        return _same(value, parameter.choices, name) if parameter.choices else value
    return _number(name, value, None)


def _same(value: Any, choices: Iterable[Any], name: str) -> Any:
    """Returns the choice whose text the cell holds."""
    for choice in choices:
        if str(choice) == str(value) or (choice == value and not isinstance(choice, bool)):
            return choice
    raise ValueError(f"{name}={value!r} is none of the space's {str(list(choices))[:200]}.")


def _whole(name: str, value: Any, *empty: Any) -> Any:
    """Returns the number of a trial or epoch in a cell, as we write it or as pandas does, or `empty` if it may be."""
    if value is None and empty:
        return empty[0]
    if isinstance(value, (int, float)) and 0 <= value < _MOST and value == int(value):
        return int(value)
    raise ValueError(f"{name}={value!r} is no whole number.")


def _number(name: str, value: Any, empty: Any) -> Any:
    """Returns the number in a cell, or `empty` if there is none; infinite where differences of such numbers are."""
    if value is None:
        return empty
    if not isinstance(value, (int, float)):
        raise ValueError(f"{name}={value!r} is not a number.")
    return value if not abs(value) > _LARGEST else math.inf if value > 0 else -math.inf
