"""Where the seconds of a run went, by epoch and in total, as in the paper's Table II."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tflbt.report.tiles import text_table
from tflbt.runs.history import History
from tflbt.runs.metrics import PARTS

OTHER = "other"


def by_epoch(history: History) -> dict[str, list[float]]:
    """Returns the seconds that each epoch spent on each part that took any time, and on `other`, the rest.

    Epochs without a number count 0. Where ranks came or went, the time without training before an epoch belongs to it.
    """
    parts = {part: _column(history, f"seconds_{part}") for part in PARTS}
    stability = _column(history, "seconds_stability")  # StabilityMonitor measures curvature too
    parts["curvature"] = [a + b for a, b in zip(parts["curvature"], stability)]
    joining = _column(history, "seconds_joining")  # of ranks that come and go in one job
    parts["resizing"] = [a + b for a, b in zip(parts["resizing"], joining)]
    spent = [sum(values) for values in zip(*parts.values())]
    whole = [a + b for a, b in zip(_column(history, "seconds"), joining)]
    parts[OTHER] = [max(0.0, total - accounted) for total, accounted in zip(whole, spent)]
    return {part: values for part, values in parts.items() if any(values)}


def totals(history: History) -> dict[str, float]:
    """Returns the seconds that the whole run spent on each part; their sum is the run's time."""
    return {part: math.fsum(values) for part, values in by_epoch(history).items()}


def has_times(history: History) -> bool:
    """Whether the run logged its updates' times (`TimeAccount` in the `fit` of a `LargeBatchModel`)."""
    return history.has("seconds") and history.has("seconds_computation")


def table(runs: Mapping[str, History]) -> str:
    """Returns one line of text per run with its seconds by part and its speed-up over the first, below a header.

    Raises:
        ValueError: If a run has no times.

    Source: Table II of `abs-absa.txt`, whose times are those to reach the baseline's accuracy; these are of all epochs.
    """
    spent = {name: totals(history) for name, history in runs.items()}
    for name, parts in spent.items():
        if not parts:
            raise ValueError(f"{name}: its metrics.csv has no times, in the column seconds.")
    columns = parts_of(spent)
    first = sum(next(iter(spent.values())).values())
    cells = [["seconds", *columns, "total", "speed-up"]]
    for name, parts in spent.items():
        total = sum(parts.values())
        values = [*(parts.get(part, 0.0) for part in columns), total]
        cells.append([name, *(f"{value:,.1f}" for value in values), f"{first / total:.2f}x"])
    return text_table(cells)


def parts_of(spent: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Returns the parts that any of the runs spent time on, in the documented order, `other` last."""
    return [part for part in (*PARTS, OTHER) if any(part in parts for parts in spent.values())]


def _column(history: History, name: str) -> list[float]:
    """Returns a column of seconds, 0 where there is no number."""
    return [value if math.isfinite(value) else 0.0 for value in history.series(name)]
