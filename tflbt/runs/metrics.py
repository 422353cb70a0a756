"""metrics.csv: a row an epoch, whole at every moment, numbers that read back exactly."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from tflbt.runs import atomic_file

# The documented order; metrics stand between `loss` and `val_loss`, their twins after `val_loss`.
_FIRST = ("epoch", "updates", "samples", "distinct_samples")
_LAST = (
    "learning_rate",
    "batch_size",
    "phase",
    "eigenvalue",
    "curvature_products",
    "stability_eigenvalue",
    "stability_mean",
    "stability_limit",
    "stability_limit_momentum",
    "decays",
    "growths",
    "adversarial_ratio",
    "discarded_share",
    "seconds",
)
# Where the seconds went, in the order in which the paper's Table II and our figure have them.
PARTS = ("computation", "communication", "curvature", "resizing", "input", "validation")


def columns_in_order(names: Iterable[str]) -> list[str]:
    """Sorts column names into the order that is documented for `metrics.csv`.

    epoch, updates, samples, distinct_samples, loss, metrics, val_loss, val_metrics, learning_rate, batch_size,
    phase, eigenvalue, curvature_products, stability_eigenvalue, stability_mean, stability_limit,
    stability_limit_momentum, decays, growths, adversarial_ratio, discarded_share, seconds, and where they
    went: seconds_computation, _communication, _curvature, _resizing, _input, _validation, other seconds_*.
    Names of one kind keep the order they come in.

    Args:
        names: Column names, each at most once.

    Returns:
        The same names, sorted.

    Example:
        >>> columns_in_order(["seconds", "val_loss", "accuracy", "epoch", "loss"])
        ['epoch', 'loss', 'accuracy', 'val_loss', 'seconds']
    """
    return sorted(names, key=_place)


def is_logged_metric(name: str) -> bool:
    """Tells whether a column is a loss or metric that Keras computed, not part of the schedule.

    Args:
        name: A column name.

    Returns:
        True for `loss`, `accuracy`, `val_loss` and the like.

    Example:
        >>> [is_logged_metric(name) for name in ("val_accuracy", "eigenvalue")]
        [True, False]
    """
    return name not in _FIRST and name not in _LAST and not name.startswith("seconds_")


def _place(name: str) -> tuple[int, int]:
    """Returns the sort key of a column: its kind, then its place among the known ones."""
    if name in _FIRST:
        return 0, _FIRST.index(name)
    if name in _LAST:
        return 3, _LAST.index(name)
    if name.startswith("seconds_"):
        part = name[len("seconds_") :]
        return 4, PARTS.index(part) if part in PARTS else len(PARTS)
    if name.startswith("val_"):
        return 2, 0 if name == "val_loss" else 1
    return 1, 0 if name == "loss" else 1


class MetricsTable:
    """The table behind `metrics.csv`.

    Every change rewrites the file and swaps it in (see `atomic_file.write`): an epoch is rare and
    a table small, so a kill at any moment leaves a whole file. Floats are written by `repr`, the
    shortest text that reads back as the same number.

    Args:
        path: The CSV file; it need not exist yet.

    Example:
        >>> import tempfile
        >>> table = MetricsTable(Path(tempfile.mkdtemp()) / "metrics.csv")
        >>> table.append({"epoch": 1, "loss": 0.1, "phase": "exploration"})
        >>> table.read()
        [{'epoch': 1, 'loss': 0.1, 'phase': 'exploration'}]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Takes the path."""
        self.path = Path(path)

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a row; columns not seen before are allowed, earlier rows are empty there.

        Args:
            row: Values by column: int, float, str, NumPy scalars, or None for an empty cell.

        Raises:
            OSError: If the file cannot be written; the rows that were there are untouched.
            ValueError: If the file that is there is not a table (see `read`).

        Example:
            >>> import tempfile
            >>> table = MetricsTable(Path(tempfile.mkdtemp()) / "metrics.csv")
            >>> table.append({"epoch": 1})
            >>> table.append({"epoch": 2, "eigenvalue": 3.5})
            >>> print(table.path.read_text(), end="")
            epoch,eigenvalue
            1,
            2,3.5
        """
        columns, lines = self._read_text()
        written = {name: _to_text(value) for name, value in row.items()}
        columns = columns_in_order([*columns, *(n for n in written if n not in columns)])
        self._write(columns, [*lines, written])

    def truncate(self, epochs: int) -> int:
        """Drops the rows after an epoch: those a resumed run is going to write again.

        Args:
            epochs: The last epoch to keep (1-based); 0 drops all rows.

        Returns:
            The number of rows dropped.

        Raises:
            OSError: If the file cannot be written.
            ValueError: If the file that is there is not a table (see `read`).

        Example:
            >>> import tempfile
            >>> table = MetricsTable(Path(tempfile.mkdtemp()) / "metrics.csv")
            >>> for epoch in (1, 2, 3):
            ...     table.append({"epoch": epoch})
            >>> table.truncate(1)
            2
            >>> table.read()
            [{'epoch': 1}]
        """
        columns, lines = self._read_text()
        kept = [line for line in lines if int(line.get("epoch") or 0) <= epochs]
        if len(kept) != len(lines):
            self._write(columns, kept)
        return len(lines) - len(kept)

    def read(self) -> list[dict[str, Any]]:
        """Reads the table.

        Returns:
            A dictionary a row, every column in each, in the file's order: int, float (nan and inf
            included), str, or None for an empty cell. No rows if there is no file. A last line
            that was cut off is left out, with a logged notice.

        Raises:
            ValueError: If another line does not fit the header; names the file and the line.
            OSError: If the file cannot be read.

        Example:
            >>> MetricsTable("nowhere/metrics.csv").read()
            []
        """
        columns, lines = self._read_text()
        return [{name: _from_text(line.get(name, "")) for name in columns} for line in lines]

    def _write(self, columns: list[str], lines: list[dict[str, str]]) -> None:
        """Writes header and lines in one step."""
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        atomic_file.write(self.path, text.getvalue())

    def _read_text(self) -> tuple[list[str], list[dict[str, str]]]:
        """Returns the columns and the cells as text, without a damaged last line."""
        try:
            text = self.path.read_text("utf-8", errors="replace")
        except FileNotFoundError:
            return [], []
        lines = text.splitlines(keepends=True)
        # Our own writer ends every line, so a line without an end was cut off, whatever is in it.
        if lines and not lines[-1].endswith(("\n", "\r")):
            logging.warning("%s: the last line is cut off and is left out", self.path)
            lines.pop()
        return self._parse([line.replace("\0", "") for line in lines])

    def _parse(self, lines: list[str]) -> tuple[list[str], list[dict[str, str]]]:
        """Splits lines into cells and holds every one against the header."""
        cells = [row for row in csv.reader(lines) if row]
        if not cells:
            return [], []
        header, rows = cells[0], cells[1:]
        for number, row in enumerate(rows, start=2):
            if len(row) == len(header):
                continue
            if number == len(cells):
                logging.warning("%s: the last line is damaged and is left out", self.path)
                rows.pop()
                break
            raise ValueError(
                f"{self.path}, line {number}: {len(row)} cells where the header has "
                f"{len(header)}; restore the line or remove it."
            )
        return header, [dict(zip(header, row)) for row in rows]


def _to_text(value: Any) -> str:
    """Writes a cell so that a number reads back exactly."""
    if value is None:
        return ""
    if hasattr(value, "item"):  # NumPy scalars and tensors' numpy() values
        value = value.item()
    return repr(value) if isinstance(value, float) else str(value)


def _from_text(text: str) -> Any:
    """Reads a cell: int, float, text, or None if empty."""
    if text == "":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
