"""Tuned recipes side by side: the same number of trials each, then the best of each trained with several seeds."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

from tflbt.analysis.tuned import Tuned
from tflbt.report import page_parts
from tflbt.report.tiles import count, metric_text, text_table
from tflbt.runs import atomic_file, received

_CAPTION = (
    "A dot for each seed; the tick is their mean, the bar the sample standard deviation on both sides of it. "
    "Every recipe's hyper-parameters are the best of its own search."
)


def comparison_table(rows: Sequence[Tuned]) -> str:
    """Returns one line of text per recipe below a header, as the terminal shows them."""
    lines = [_header(rows), *(_cells(row) for row in rows)]
    *columns, runs = zip(*lines)
    padded = [f"{text:<{max(map(len, runs))}}" for text in runs]  # to the left, others to the right
    return text_table(list(zip(*columns, padded)))


def write_comparison(directory: str | os.PathLike[str], rows: Sequence[Tuned]) -> Path:
    """Writes `comparison.csv`, the figure `figures/comparison` (PNG, SVG) and `report.html`, whose path it returns."""
    from tflbt.report import comparison_figure, figure_files  # Matplotlib is only loaded to draw

    _header(rows)  # raises before anything is written
    folder = Path(directory)
    received.require_contained(folder, ("figures",))
    figure = comparison_figure.draw(rows)
    drawings = figure_files.save_inline({"comparison": figure}, folder / "figures")
    atomic_file.write(folder / "comparison.csv", _csv(rows))
    atomic_file.write(folder / "report.html", _page(rows, drawings["comparison"]))
    return folder / "report.html"


def _header(rows: Sequence[Tuned]) -> list[str]:
    """Returns the table's header; raises if the recipes cannot be compared."""
    if not rows:
        raise ValueError("rows=[] has no recipe; give at least one.")
    for row in rows:
        if (row.objective, row.direction) != (rows[0].objective, rows[0].direction):
            raise ValueError(
                f"objective={row.objective!r} ({row.direction}) of {row.name} cannot be compared with "
                f"{rows[0].objective!r} ({rows[0].direction}) of {rows[0].name}; tune both for one."
            )
    return ["recipe", "trials", f"tuned {rows[0].objective}", "mean", "deviation", "n"]


def _cells(row: Tuned) -> list[str]:
    """Returns a recipe's row of the table."""
    objective = row.objective
    runs = str(len(row.finite)) + (f" ({row.diverged} diverged)" if row.diverged else "")
    numbers = (row.tuned_objective, row.mean, row.deviation)
    texts = [metric_text(objective, v) if math.isfinite(v) else "-" for v in numbers]
    return [row.name, str(row.trials), *texts, runs]


def _csv(rows: Sequence[Tuned]) -> str:
    """Returns the table in full digits, with each seed's result and each hyper-parameter's value."""
    seeds = max(len(row.results) for row in rows)
    names = _names(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fixed = ("name", "trials", "best_trial", "objective", "direction", "tuned_objective")
    statistics = ("n", "diverged", "mean", "standard_deviation")
    writer.writerow([*fixed, *statistics, *(f"result_{n}" for n in range(1, seeds + 1)), *names])
    for row in rows:
        results = [*map(float, row.results), *[""] * (seeds - len(row.results))]
        measured = (len(row.finite), row.diverged, row.mean, row.deviation)
        values = [row.values.get(name, "") for name in names]
        writer.writerow([*(getattr(row, name) for name in fixed), *measured, *results, *values])
    return text.getvalue()


def _page(rows: Sequence[Tuned], drawing: str) -> str:
    """Returns the page's HTML."""
    sign = 1 if rows[0].direction == "max" else -1
    measured = [row for row in rows if row.finite]
    best = max(measured, key=lambda row: sign * row.mean, default=None)
    names = _names(rows)
    cells = [
        [*_cells(row), *(page_parts.shown(row.values.get(name)) for name in names)] for row in rows
    ]
    lines = zip(rows, cells)
    body = [page_parts.row(map(page_parts.cell, texts), row is best) for row, texts in lines]
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


def _names(rows: Sequence[Tuned]) -> list[str]:
    """Returns the names of the hyper-parameters that any recipe has."""
    return list(dict.fromkeys(name for row in rows for name in row.values))
