"""report.html: one file that opens from disk, without network or script."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from tflbt.report import atomic_file, captions
from tflbt.report.history import History
from tflbt.report.page_style import CSS
from tflbt.report.run_directory import RunDirectory
from tflbt.report.tiles import Tile, planned_epochs, tiles


def write(run_directory: RunDirectory | str | os.PathLike[str], regime: str = "") -> Path:
    """Draws the figures of a run and writes its `report.html`, from what its directory holds.

    Safe to call at any time, also while the run is going on or after it was interrupted.

    Args:
        run_directory: A run's directory, or its path.
        regime: What `tflbt.report.regime.line` says of its batch size; default "": nothing. It is
            not kept: the page that is written next without it does not show it.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: If there is no `metrics.csv` with at least one epoch.
        ValueError: If a file of the run is damaged; names it.
        OSError: If page or figures cannot be written; names the path.

    Example:
        >>> import tempfile
        >>> run = RunDirectory(tempfile.mkdtemp())
        >>> run.metrics.append({"epoch": 1, "loss": 0.5, "val_accuracy": 0.97})
        >>> write(run).name
        'report.html'
    """
    from tflbt.report import figure_files, figures  # Matplotlib is only loaded to draw

    run = run_directory if isinstance(run_directory, RunDirectory) else RunDirectory(run_directory)
    history = History(run.metrics.read())
    if not history.rows:
        raise FileNotFoundError(
            2, "no epochs to report on; metrics.csv has a row after the first epoch",
            str(run.metrics_csv),
        )  # fmt: skip
    names = figures.write(history, run.figures)
    drawings = {
        name: figure_files.inline_svg((run.figures / f"{name}.svg").read_text("utf-8"), name)
        for name in names
    }
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
    """Returns the page's HTML; everything but `drawings` is escaped.

    Args:
        name: The run's name.
        history: The epochs; at least one.
        config: Hyper-parameters by dotted name.
        environment: What `environment.json` says.
        drawings: `<svg>` elements by figure name.
        regime: A sentence on the batch size's regime; default "": none.

    Returns:
        A whole HTML document that refers to nothing outside itself.

    Example:
        >>> page("a < b", History([{"epoch": 1}]), {}, {}, {}).count("a &lt; b")
        2
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)}</title>
<style>{CSS}</style>
</head>
<body>
<main>
{_header(name, history, config, environment, regime)}
{_tiles(tiles(history, config, environment))}
{_figures(drawings, history)}
<h2>Details</h2>
{_epochs(history)}
{_pairs("Hyper-parameters", "config.json", config)}
{_pairs("Environment", "environment.json", environment)}
<footer>Made from <code>metrics.csv</code> by tflbt; \
<code>python -m tflbt.report_run</code> makes it again.</footer>
</main>
</body>
</html>
"""


def _header(
    name: str,
    history: History,
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    regime: str,
) -> str:
    """Title, date, the batch size's regime, and a notice if the run is not complete or went wrong."""
    date = str(environment.get("date", ""))[:16].replace("T", " ")
    about = f"Large-batch training{f', started {date} UTC' if date else ''}"
    told = f"<p>{escape(regime[:1].upper() + regime[1:])}.</p>" if regime else ""
    notices = []
    planned, last = planned_epochs(config), history.epochs[-1]
    if planned and last < planned:
        notices.append(f"This run has {last} of its {planned} epochs.")
    loss = history.last("loss")
    if isinstance(loss, float) and not math.isfinite(loss):
        notices.append("The training loss is no longer a finite number.")
    shown = "".join(f'<p class="notice">{escape(notice)}</p>' for notice in notices)
    return f"<header><h1>{escape(name)}</h1><p>{escape(about)}</p>{told}{shown}</header>"


def _tiles(found: Iterable[Tile]) -> str:
    """The headline numbers, as a list of terms."""
    found = list(found)
    shown = [
        f"<div{' class=first' if place == 0 else ''}><dt>{escape(tile.name)}</dt>"
        f'<dd class="value">{escape(tile.value)}</dd>'
        f'<dd class="note">{escape(tile.note)}</dd></div>'
        for place, tile in enumerate(found)
    ]
    columns = 4 if len(found) > 6 or len(found) == 4 else 3
    return f'<dl class="tiles" style="--columns: {columns}">{"".join(shown)}</dl>'


def _figures(drawings: Mapping[str, str], history: History) -> str:
    """The figures with their captions."""
    if not drawings:
        return ""
    shown = []
    for name, drawing in drawings.items():
        title, caption = captions.title(name, history), captions.caption(name, history)
        shown.append(
            f"<figure{' class=whole' if name in captions.WHOLE else ''}><h3>{escape(title)}</h3>"
            f'<div class="drawing" role="img" aria-label="{escape(f"{title}. {caption}")}">'
            f"{drawing}</div><figcaption>{escape(caption)}</figcaption></figure>"
        )
    return f'<h2>Training</h2>\n<div class="figures">{"".join(shown)}</div>'


def _epochs(history: History) -> str:
    """The table of epochs, folded."""
    columns = list(history.rows[0])
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    marked = {history.switch_epoch, *history.decay_epochs, *history.growth_epochs}
    body = []
    for epoch, row in zip(history.epochs, history.rows):
        cells = "".join(_cell(row.get(name)) for name in columns)
        body.append(f"<tr{' class=mark' if epoch in marked else ''}>{cells}</tr>")
    note = "; coloured: phase switch, decays, growth" if marked - {None} else ""
    return (
        f"<details><summary>Epochs <span>{len(body)} rows, metrics.csv{note}</span></summary>"
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div></details>"
    )


def _cell(value: Any) -> str:
    """A cell of the table of epochs, numbers shortened."""
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    if isinstance(value, float):
        return f"<td>{value:.5g}</td>"
    return f"<td>{'' if value is None else f'{value:,}'}</td>"


def _pairs(title: str, file: str, values: Mapping[str, Any]) -> str:
    """A table of names and values, folded."""
    if not values:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(_shown(value))}</td></tr>'
        for name, value in values.items()
    )
    return (
        f"<details><summary>{escape(title)} <span>{escape(file)}</span></summary>"
        f'<div class="scroll" tabindex="0"><table class="pairs"><tbody>{rows}</tbody></table></div>'
        "</details>"
    )


def _shown(value: Any) -> str:
    """A setting as a person writes it."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return " ".join(value) if value else "none"
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
