"""`epoch_line`: the line that is printed at the end of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflbt.runs.metrics import is_logged_metric

_WIDTH = 8  # of a number, so that the lines of a run are aligned


def epoch_line(row: Mapping[str, Any], epochs: int | None = None) -> str:
    """Writes an epoch's row (values by column, as in `metrics.csv`) as one aligned line, as far as the row has them."""
    parts = [_epoch(row["epoch"], epochs), *_metrics(row), _schedule(row)]
    if row.get("seconds") is not None:
        parts.append(f"{row['seconds']:.1f} s")
    return " | ".join(part for part in parts if part).rstrip()


def _epoch(epoch: int, epochs: int | None) -> str:
    """Returns the epoch's number, as wide as that of the last epoch."""
    return f"epoch {epoch}" if epochs is None else f"epoch {epoch:>{len(str(epochs))}}/{epochs}"


def _metrics(row: Mapping[str, Any]) -> list[str]:
    """Returns the training metrics and the validation metrics, as two groups."""
    groups: tuple[list[str], list[str]] = ([], [])
    for name in filter(is_logged_metric, row):
        groups[name.startswith("val_")].append(f"{name} {_number(row[name])}")
    return ["  ".join(group) for group in groups]


def _schedule(row: Mapping[str, Any]) -> str:
    """Returns phase, learning rate, batch size (if it may change), eigenvalue and decays."""
    parts = []
    if row.get("phase"):
        parts.append(f"{row['phase']!s:<11}")
    if row.get("learning_rate") is not None:
        parts.append(f"lr {_number(row['learning_rate'], 4)}")
    if row.get("growths") is not None:
        parts.append(f"batch {row['batch_size']!s:<6}")
    if "eigenvalue" in row:
        parts.append(f"eigenvalue {_number(row['eigenvalue'], 4)}")
    if row.get("decays") is not None:
        parts.append(f"decays {row['decays']}")
    return "  ".join(parts)


def _number(value: Any, digits: int | None = None) -> str:
    """Returns a number in a fixed width, with four decimals or with this many significant digits."""
    if value is None:
        return f"{'-':<{_WIDTH}}"
    if not isinstance(value, (int, float)):
        return str(value)
    if digits is None and isinstance(value, int):
        return str(value)
    if digits is None and (value == 0 or 1e-3 <= abs(value) < 1e3):
        return f"{value:<{_WIDTH}.4f}"
    return f"{value:<{_WIDTH}.{digits or 3}g}"
