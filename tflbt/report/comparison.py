"""Tuned recipes side by side: the same number of trials each, then the best of each trained with several seeds."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tflbt.analysis.tuned import Tuned
from tflbt.report import page_parts
from tflbt.report.tiles import count, metric_text
from tflbt.runs import atomic_file

_CAPTION = (
    "A dot for each seed; the tick is their mean, the bar the sample standard deviation on both sides of it. "
    "Every recipe's hyper-parameters are the best of its own search."
)


def comparison_table(rows: Sequence[Tuned]) -> str:
    """Writes the recipes below each other, as the terminal shows them.

    Args:
        rows: The recipes, in the order they are shown; all with one objective and direction.

    Returns:
        Lines of text: a header, and one a recipe.

    Raises:
        ValueError: If there is no recipe, or their objectives or directions differ.

    Example:
        >>> sgd = Tuned("sgd", 12, 5, {}, 0.95, "val_accuracy", "max", [0.94, math.nan])
        >>> lars = Tuned("lars", 12, 3, {}, 0.97, "val_accuracy", "max", [0.96, 0.98])
        >>> print(comparison_table([sgd, lars]))
        recipe   trials   tuned val_accuracy     mean   deviation   n
        sgd          12               95.00%   94.00%           -   1 (1 diverged)
        lars         12               97.00%   97.00%       1.41%   2
    """
    lines = [_header(rows), *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    shown = []
    for name, *numbers, runs in lines:
        right = [f"{text:>{width}}" for text, width in zip(numbers, widths[1:])]
        shown.append("   ".join([f"{name:<{widths[0]}}", *right, runs]).rstrip())
    return "\n".join(shown)


def write_comparison(directory: str | os.PathLike[str], rows: Sequence[Tuned]) -> Path:
    """Writes `comparison.csv`, `report.html` and the figure `figures/comparison` (PNG and SVG).

    Args:
        directory: Where to; made if missing.
        rows: The recipes, in the order they are shown; all with one objective and direction.

    Returns:
        The path of the page.

    Raises:
        ValueError: If there is no recipe, or their objectives or directions differ.
        OSError: If a file cannot be written; names it.

    Example:
        >>> import tempfile
        >>> lars = Tuned("lars", 12, 3, {}, 0.97, "val_accuracy", "max", [0.96, 0.98])
        >>> write_comparison(tempfile.mkdtemp(), [lars]).name
        'report.html'
    """
    from tflbt.report import comparison_figure, figure_files  # Matplotlib is only loaded to draw

    _header(rows)  # raises before anything is written
    folder = Path(directory)
    figure_files.save_all({"comparison": comparison_figure.draw(rows)}, folder / "figures")
    svg = (folder / "figures" / "comparison.svg").read_text("utf-8")
    atomic_file.write(folder / "comparison.csv", _csv(rows))
    drawing = figure_files.inline_svg(svg, "comparison")
    atomic_file.write(folder / "report.html", _page(rows, drawing))
    return folder / "report.html"


def _header(rows: Sequence[Tuned]) -> list[str]:
    """The table's header; raises if the recipes cannot be compared."""
    if not rows:
        raise ValueError("rows=[] has no recipe; give at least one.")
    for row in rows:
        if (row.objective, row.direction) != (rows[0].objective, rows[0].direction):
            raise ValueError(
                f"objective={row.objective!r} ({row.direction}) of {row.name} cannot be held against "
                f"{rows[0].objective!r} ({rows[0].direction}) of {rows[0].name}; tune both for one."
            )
    return ["recipe", "trials", f"tuned {rows[0].objective}", "mean", "deviation", "n"]


def _cells(row: Tuned) -> list[str]:
    """One line of the table."""
    objective = row.objective
    runs = str(len(row.finite)) + (f" ({row.diverged} diverged)" if row.diverged else "")
    numbers = (row.tuned_objective, row.mean, row.deviation)
    told = [metric_text(objective, v) if math.isfinite(v) else "-" for v in numbers]
    return [row.name, str(row.trials), *told, runs]


def _csv(rows: Sequence[Tuned]) -> str:
    """A row a recipe: what the table has in full digits, each seed's result, each hyper-parameter's value."""
    seeds = max(len(row.results) for row in rows)
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fixed = ("name", "trials", "best_trial", "objective", "direction", "tuned_objective")
    told = ("n", "diverged", "mean", "standard_deviation")
    writer.writerow([*fixed, *told, *(f"result_{n}" for n in range(1, seeds + 1)), *names])
    for row in rows:
        results = [*map(float, row.results), *[""] * (seeds - len(row.results))]
        found = (len(row.finite), row.diverged, row.mean, row.deviation)
        values = [row.values.get(name, "") for name in names]
        writer.writerow([*(getattr(row, name) for name in fixed), *found, *results, *values])
    return text.getvalue()


def _page(rows: Sequence[Tuned], drawing: str) -> str:
    """The page's HTML."""
    sign = 1 if rows[0].direction == "max" else -1
    able = [row for row in rows if row.finite]
    best = max(able, key=lambda row: sign * row.mean) if able else None
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    body = [
        page_parts.row(
            [
                *(page_parts.cell(text) for text in _cells(row)),
                *(page_parts.cell(_value(row.values.get(name))) for name in names),
            ],
            row is best,
        )
        for row in rows
    ]
    table = page_parts.table([*_header(rows), *names], body)
    trials = " and ".join(str(number) for number in sorted({row.trials for row in rows}))
    end = "largest" if sign > 0 else "smallest"
    about = f"Each tuned with {trials} trials; {rows[0].objective}, the {end} is the best"
    notices = [
        f"{row.name}: {row.diverged} of its {count(len(row.results), 'run')} diverged."
        for row in rows
        if row.diverged
    ]
    if len({row.trials for row in rows}) > 1:
        notices.append("The recipes were not tuned with the same number of trials.")
    note = "comparison.csv; coloured: the best mean"
    figure = page_parts.figure(drawing, "Results by seed", _CAPTION, whole=True)
    return page_parts.document(
        "Tuned recipes side by side",
        page_parts.header("Tuned recipes side by side", about, notices),
        page_parts.figures("Results", [figure]),
        page_parts.fold("Recipes", note, table, unfolded=True),
        "<footer>Made by tflbt.</footer>",
    )


def _value(value: Any) -> Any:
    """A hyper-parameter's value, a float with the digits that matter."""
    return (
        f"{value:.6g}"
        if isinstance(value, float)
        else page_parts.setting(value)
        if value is not None
        else None
    )
