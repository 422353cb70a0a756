"""report.html: one file that opens from disk, without network or script."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from tflbt import checks
from tflbt.report import captions, page_parts
from tflbt.report.tiles import planned_epochs, tiles
from tflbt.runs import atomic_file
from tflbt.runs.history import History
from tflbt.runs.run_directory import RunDirectory


@checks.arguments
def write(run_directory: RunDirectory | str | os.PathLike[str], regime: str = "") -> Path:
    """Draws the figures of a run, writes its `report.html` from what its directory holds, and returns the page's path.

    Safe to call at any time, also while the run is in progress or after it was interrupted.

    Args:
        run_directory: A run's directory, or its path.
        regime: The sentence of `tflbt.report.regime.line` about its batch size; default "": none. It is not stored: a
            page written later without it does not show it.

    Raises:
        FileNotFoundError: If there is no `metrics.csv` with at least one epoch.
        ValueError: If a file of the run is damaged, or a symbolic link leads out of its directory; names it.
        OSError: If the page or a figure cannot be written; names the path.

    Example:
        >>> import tempfile
        >>> run = RunDirectory(tempfile.mkdtemp())
        >>> run.metrics.append({"epoch": 1, "loss": 0.5, "val_accuracy": 0.97})
        >>> write(run).name
        'report.html'
    """
    from tflbt.report import figures  # Matplotlib is only loaded to draw

    run = run_directory if isinstance(run_directory, RunDirectory) else RunDirectory(run_directory)
    run.require_contained()
    history = run.history
    if not history.rows:
        raise FileNotFoundError(
            2, "no epochs to report on; metrics.csv has a row after the first epoch",
            str(run.metrics_csv),
        )  # fmt: skip
    drawings = figures.write(history, run.figures)
    environment = run.environment if run.environment_json.exists() else {}
    text = page(run.name, history, run.hyper_parameters, environment, drawings, regime)
    atomic_file.write(run.report_html, text)
    return run.report_html


def page(
    name: str,
    history: History,
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    drawings: Mapping[str, str],
    regime: str = "",
) -> str:
    """Returns the page of a run as one HTML document that refers to nothing outside itself.

    `drawings` are `<svg>` elements by figure name, which are not escaped; everything else is.
    """
    return page_parts.document(
        name,
        _header(name, history, config, environment, regime),
        page_parts.tile_list(tiles(history, config, environment)),
        _figures(drawings, history),
        "<h2>Details</h2>",
        _epochs(history),
        page_parts.pairs("Hyper-parameters", "config.json", config),
        page_parts.pairs("Environment", "environment.json", environment),
        "<footer>Made from <code>metrics.csv</code> by tflbt; "
        "<code>python -m tflbt.report_run</code> makes it again.</footer>",
    )


def _header(
    name: str,
    history: History,
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    regime: str,
) -> str:
    """Returns title, date, the batch size's regime, and notices if the run is incomplete or diverged."""
    date = str(environment.get("date", ""))[:16].replace("T", " ")
    about = f"Large-batch training{f', started {date} UTC' if date else ''}"
    sentence = f"<p>{escape(regime[:1].upper() + regime[1:])}.</p>" if regime else ""
    notices = []
    planned, last = planned_epochs(config), history.epochs[-1]
    if planned and last < planned:
        notices.append(f"This run has {last} of its {planned} epochs.")
    loss = history.last("loss")
    if isinstance(loss, float) and not math.isfinite(loss):
        notices.append("The training loss is no longer a finite number.")
    return page_parts.header(name, about, notices, sentence)


def _figures(drawings: Mapping[str, str], history: History) -> str:
    """Returns the figures with their captions."""
    shown = [
        page_parts.figure(
            drawing,
            captions.title(name, history),
            captions.caption(name, history),
            whole=name in captions.WHOLE,
        )
        for name, drawing in drawings.items()
    ]
    return page_parts.figures("Training", shown)


def _epochs(history: History) -> str:
    """Returns the table of epochs, folded."""
    columns = list(history.rows[0])
    marked = {history.switch_epoch, *history.decay_epochs, *history.growth_epochs}
    body = [
        page_parts.row((page_parts.cell(row.get(name)) for name in columns), epoch in marked)
        for epoch, row in zip(history.epochs, history.rows)
    ]
    note = "; coloured: phase switch, decays, growth" if marked - {None} else ""
    return page_parts.fold(
        "Epochs", f"{len(body)} rows, metrics.csv{note}", page_parts.table(columns, body)
    )
