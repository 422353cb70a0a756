"""Where the seconds of a run went, by epoch and in all, as the paper's Table II has them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tflbt.runs.history import History
from tflbt.runs.metrics import PARTS

OTHER = "other"


def by_epoch(history: History) -> dict[str, list[float]]:
    """Returns what each epoch spent on each part, in seconds.

    Args:
        history: The epochs of a run.

    Returns:
        For each part of `computation`, `communication`, `curvature`, `resizing`, `input`, `validation` that took any
        time, one value an epoch; then `other`, what is left of the column `seconds`. Epochs without a number count 0.

    Example:
        >>> rows = [{"epoch": 1, "seconds": 10.0, "seconds_computation": 7.5, "seconds_input": 0.5}]
        >>> by_epoch(History(rows))
        {'computation': [7.5], 'input': [0.5], 'other': [2.0]}
    """
    found = {part: _column(history, f"seconds_{part}") for part in PARTS}
    stability = _column(
        history, "seconds_stability"
    )  # another callback's, which measures curvature too
    found["curvature"] = [a + b for a, b in zip(found["curvature"], stability)]
    spent = [sum(values) for values in zip(*found.values())]
    whole = _column(history, "seconds")
    found[OTHER] = [max(0.0, seconds - told) for seconds, told in zip(whole, spent)]
    return {part: values for part, values in found.items() if any(values)}


def totals(history: History) -> dict[str, float]:
    """Returns what the whole run spent on each part, in seconds.

    Args:
        history: The epochs of a run.

    Returns:
        Seconds by part, of those that took any; their sum is the run's time.

    Example:
        >>> totals(History([{"epoch": n, "seconds": 2.0, "seconds_curvature": 0.5} for n in (1, 2)]))
        {'curvature': 1.0, 'other': 3.0}
    """
    return {part: math.fsum(values) for part, values in by_epoch(history).items()}


def has_times(history: History) -> bool:
    """Tells whether the run kept account of its updates' time (`TimeAccount` in a `LargeBatchModel`'s fit).

    Args:
        history: The epochs of a run.

    Returns:
        True if there is something to draw.

    Example:
        >>> has_times(History([{"epoch": 1, "seconds": 10.0}]))
        False
    """
    return history.has("seconds") and history.has("seconds_computation")


def table(runs: Mapping[str, History]) -> str:
    """Writes the runs' seconds below each other, with the speed-up over the first.

    Args:
        runs: Histories by name, the baseline first; each with the column `seconds`.

    Returns:
        Lines of text: a header, and one a run.

    Raises:
        ValueError: If a run has no times.

    Example:
        >>> bl, gg = [{"epoch": 1, "seconds": 8.0}], [{"epoch": 1, "seconds": 4.0}]
        >>> print(table({"bl": History(bl), "gg": History(gg)}))
        seconds   other   total   speed-up
        bl          8.0     8.0      1.00x
        gg          4.0     4.0      2.00x

    Source: Table II of `abs-absa.txt`; there the time is that to reach the baseline's accuracy, here all epochs'.
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
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join(_line(line, widths) for line in cells)


def parts_of(spent: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Returns the parts that any of the runs spent time on, in the documented order.

    Args:
        spent: For each run its seconds by part.

    Returns:
        Parts, `other` last.

    Example:
        >>> parts_of({"bl": {"other": 1.0}, "gg": {"computation": 2.0}})
        ['computation', 'other']
    """
    return [part for part in (*PARTS, OTHER) if any(part in parts for parts in spent.values())]


def _line(cells: list[str], widths: list[int]) -> str:
    """One line of the table: the name on the left, numbers on the right of their columns."""
    numbers = (f"{cell:>{width}}" for cell, width in zip(cells[1:], widths[1:]))
    return "   ".join([f"{cells[0]:<{widths[0]}}", *numbers])


def _column(history: History, name: str) -> list[float]:
    """A column of seconds, 0 where there is none."""
    return [value if math.isfinite(value) else 0.0 for value in history.series(name)]
