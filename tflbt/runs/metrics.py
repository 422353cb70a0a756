"""metrics.csv: one row per epoch, whole at every moment, with numbers that read back exactly."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from tflbt import checks
from tflbt.runs import atomic_file, received
from tflbt.runs.config import without_numpy

# The documented order: _FIRST, loss, metrics, val_loss, val_metrics, _LAST, seconds_PART, other seconds_*, columns
# of single variables (KIND/VARIABLE).
MOST_NUMBERS = 1_000  # of an array in a row
_FIRST = ("epoch", "updates", "samples", "distinct_samples")
_LAST = (
    *("learning_rate", "batch_size", "ranks", "phase", "eigenvalue"),
    "curvature_products",
    *("eigenvalue_output", "eigenvalue_last_2", "eigenvalue_all"),
    *("stability_eigenvalue", "stability_mean", "stability_limit", "stability_limit_momentum"),
    *("noise_scale", "gradient_variance", "gradient_square", "signal_to_noise_estimate"),
    *("signal_to_noise", "signal_length", "noise_length"),
    *("noise_scale_predicted", "gradient_norm", "gradient_stride", "gradient_stride_first"),
    *("parameter_stride", "normalized_stride", "path_length", "loss_stride"),
    "loss_stride_first_order",
    *("margin", "margin_mean", "margin_q1", "margin_median", "margin_q3", "margin_negative"),
    *("distance", "weight_norm", "weight_cosine"),
    "augmentation_scale",
    *("injected_gradient_noise", "injected_weight_noise"),
    *("activation_noise", "label_noise", "target_noise"),
    *("decays", "growths", "adversarial_ratio", "discarded_share", "seconds"),
)
# An epoch's number, as we write it or as pandas does; a table of searches has none in some rows.
_EPOCH = r"\d{1,15}(\.0*)?|"
# Of a table that is read: figures and pages of more would take minutes and gigabytes.
MOST_COLUMNS, MOST_CELLS = 10_000, 4_000_000
# Where the seconds went, in the order of the paper's Table II and of our figure.
PARTS = ("computation", "communication", "curvature", "resizing", "input", "validation")


def columns_in_order(names: Iterable[str]) -> list[str]:
    """Sorts column names into the order documented for `metrics.csv`; names of the same kind keep their order."""
    return sorted(names, key=_place)


def is_logged_metric(name: str) -> bool:
    """Whether a column is a loss or metric that Keras computed: `loss`, `val_accuracy`, ..."""
    of_ours = (
        name in _FIRST or name in _LAST or name.startswith("seconds_") or _is_of_a_variable(name)
    )
    return not of_ours


def _is_of_a_variable(name: str) -> bool:
    """Whether a column is of a single variable of the network, such as `radius/dense/kernel`."""
    return name.startswith("radius/")


def _place(name: str) -> tuple[int, int]:
    """Returns the sort key of a column: its kind, then its place among the columns of that kind."""
    if name in _FIRST:
        return 0, _FIRST.index(name)
    if name in _LAST:
        return 3, _LAST.index(name)
    if name.startswith("seconds_"):
        part = name[len("seconds_") :]
        return 4, PARTS.index(part) if part in PARTS else len(PARTS)
    if _is_of_a_variable(name):
        return 5, 0
    if name.startswith("val_"):
        return 2, 0 if name == "val_loss" else 1
    return 1, 0 if name == "loss" else 1


@checks.arguments
class MetricsTable:
    """The table behind `metrics.csv`.

    A row is added at the file's end, and is on the disk when `append` returns; what a kill may leave of it is no line,
    which reading leaves out and the next `append` removes. A row with new columns, and every other change, rewrites the
    file and replaces it (see `atomic_file.write`). Floats are written by `repr`, the shortest text that reads back as
    the same number.

    Args:
        path: The CSV file; it need not exist yet.

    Example:
        >>> import tempfile
        >>> table = MetricsTable(Path(tempfile.mkdtemp()) / "metrics.csv")
        >>> table.append({"epoch": 1, "loss": 0.1, "phase": "exploration"})
        >>> table.append({"epoch": 2, "loss": 0.05, "eigenvalue": 3.5})
        >>> table.read()[0]
        {'epoch': 1, 'loss': 0.1, 'phase': 'exploration', 'eigenvalue': None}
        >>> table.truncate(1), len(table.read())
        (1, 1)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        # The columns, and by what the file is recognised as the one that this table has read or written whole.
        self._known: tuple[list[str], tuple[int, ...]] | None = None

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a row of int, float, str, NumPy scalars or None (empty); earlier rows are empty in new columns.

        An array has a column per number, as `flat` names them.

        Raises:
            OSError: If the file cannot be written; its earlier rows are untouched.
            ValueError: If the existing file is not a table (see `read`).
        """
        written = {name: _to_text(value) for name, value in flat(row).items()}
        if self._known is not None and self._known[1] == self._state():
            columns, _ = self._known
            if written.keys() <= set(columns):
                text = _as_csv(columns, [written])
                atomic_file.extend(self.path, text)
                self._known = columns, self._state()
                return
        columns, lines = self._read_text()
        columns = columns_in_order([*columns, *(n for n in written if n not in columns)])
        self._write(columns, [*lines, written])

    def truncate(self, epochs: int) -> int:
        """Drops the rows after an epoch (0: all rows), which a resumed run will write again, and returns their number.

        Raises:
            OSError: If the file cannot be written.
            ValueError: If the existing file is not a table (see `read`).
        """
        columns, lines = self._read_text()
        for number, line in enumerate(lines, start=2):
            if not line.get("epoch"):
                raise ValueError(
                    f"{self.path}, line {number}, has no epoch; restore the line or remove it."
                )
        remaining = [line for line in lines if float(line["epoch"]) <= epochs]
        if len(remaining) != len(lines):
            self._write(columns, remaining)
        return len(lines) - len(remaining)

    def read(self) -> list[dict[str, Any]]:
        """Reads the table as one dictionary per row, with every column in each, in the file's order.

        Values are int, float (NaN and infinity included), str, or None for an empty cell. There are no rows if there is
        no file. A last line that was cut off is left out, with a logged warning.

        Raises:
            ValueError: If another line does not fit the header; names the file and the line.
            OSError: If the file cannot be read.
        """
        columns, lines = self._read_text()
        return [{name: _from_text(line.get(name, "")) for name in columns} for line in lines]

    def _write(self, columns: list[str], lines: list[dict[str, str]]) -> None:
        """Writes header and lines in one step."""
        header = dict(zip(columns, columns))
        atomic_file.write(self.path, _as_csv(columns, [header, *lines]))
        self._known = columns, self._state()

    def _state(self) -> tuple[int, ...]:
        """What changes where somebody else writes the file, or puts another in its place; nothing without a file."""
        try:
            state = os.lstat(self.path)
        except OSError:
            return ()
        return state.st_dev, state.st_ino, state.st_nlink, state.st_size, state.st_mtime_ns

    def _read_text(self) -> tuple[list[str], list[dict[str, str]]]:
        """Returns the columns and the cells as text, without a damaged last line."""
        try:
            text = received.read(self.path).decode(
                "utf-8-sig", "replace"
            )  # spreadsheets write the mark
        except FileNotFoundError:
            return [], []
        lines = text.splitlines(keepends=True)
        # Our own writer ends every line, so a line without an end was cut off, whatever is in it.
        if lines and not lines[-1].endswith(("\n", "\r")):
            logging.warning("%s: the last line is cut off and is left out", self.path)
            lines.pop()
        return self._parse([line.replace("\0", "") for line in lines])

    def _parse(self, lines: list[str]) -> tuple[list[str], list[dict[str, str]]]:
        """Splits lines into cells and checks each against the header."""
        try:
            cells = [row for row in csv.reader(lines) if row]
        except csv.Error as error:
            raise ValueError(f"{self.path} is damaged: {error}.") from error
        if not cells:
            return [], []
        header, *rows = cells
        if len(header) > MOST_COLUMNS or sum(map(len, cells)) > MOST_CELLS:
            raise ValueError(
                f"{self.path} is damaged: {len(header):,} columns and {len(rows):,} rows are more than a table has "
                f"({MOST_COLUMNS:,} columns, {MOST_CELLS:,} cells)."
            )
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
        if "epoch" in header:
            place = header.index("epoch")
            for number, row in enumerate(rows, start=2):
                if not re.fullmatch(_EPOCH, row[place]):
                    raise ValueError(
                        f"{self.path}, line {number}: epoch={row[place][:40]!r} is not a whole number; restore the "
                        "line or remove it."
                    )
        return header, [dict(zip(header, row)) for row in rows]


def _as_csv(columns: list[str], lines: list[dict[str, str]]) -> str:
    """Lines of a table, by column; empty in the columns that they do not have."""
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerows(lines)
    return text.getvalue()


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose arrays, such as a metric of each class, are a column per number: `f1_score_0`, `f1_score_1`, ...

    An array of more than `MOST_NUMBERS`, or not of numbers, is left out: it is no row's content.
    """
    found: dict[str, Any] = {}
    for name, value in row.items():
        if not isinstance(value, (np.ndarray, list, tuple)) and not hasattr(value, "numpy"):
            found[name] = value
            continue
        try:
            numbers = np.asarray(value)
        except ValueError:  # lists of different lengths
            continue
        if numbers.size == 1:
            found[name] = numbers.item()
        elif numbers.size <= MOST_NUMBERS and numbers.dtype.kind in "biuf":
            found.update({f"{name}_{i}": number.item() for i, number in enumerate(numbers.flat)})
    return found


def _to_text(value: Any) -> str:
    """Returns a cell's text, from which a number reads back exactly."""
    if value is None:
        return ""
    value = without_numpy(value)
    return repr(value) if isinstance(value, float) else str(value)


def _from_text(text: str) -> Any:
    """Returns the value of a cell: int, float, text, or None if it is empty."""
    if text == "":
        return None
    for kind in (float,) if "." in text else (int, float):  # a failure takes longer than to look
        try:
            value = kind(text)
        except ValueError:
            continue
        # A whole number of hundreds of digits is none that a float could hold.
        if kind is float or abs(value) < 2**63:
            return value
    return text
