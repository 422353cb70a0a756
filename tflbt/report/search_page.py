"""report.html of a hyper-parameter search: the winner, the figures, every trial."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from tflbt import checks
from tflbt.report import page_parts, search_files
from tflbt.report.search_history import SearchHistory, TrialRow
from tflbt.report.search_tiles import tiles
from tflbt.report.tiles import count, metric_text
from tflbt.runs import atomic_file, received

_TITLES = {
    "objective": "Objective by trial",
    "heat_map": "Two hyper-parameters",
    "parallel_coordinates": "All hyper-parameters",
}
_CAPTIONS = {
    "objective": (
        "The best value over each trial's epochs; the stair is the best of the trials so far, the ring the winner, "
        "the dashed line the recipe before tuning. "
        "A trial without a value stands at the bottom; one that diverged or failed never wins."
    ),
    "heat_map": (
        "The objective that trials reached, the denser the better; where several share a place, the best of them. "
        "A cross is a trial that diverged or failed, the green frame or ring the winner."
    ),
    "parallel_coordinates": (
        "A line for each trial, through its values to its objective: the denser the better, the thick green one the "
        "winner; a gap where a trial has no value."
    ),
}


@checks.arguments
def write_search(directory: str | os.PathLike[str]) -> Path:
    r"""Draws the figures of a search, writes its `report.html` from its directory's files, and returns the page's path.

    Safe to call at any time, also while the search is in progress or after it was interrupted.

    Args:
        directory: The directory of a search, with `search.json` and `trials.csv`.

    Raises:
        FileNotFoundError: If there is no search, or no trial has begun; names the file.
        ValueError: If a file of the search is damaged, or a symbolic link leads out of its directory; names it.
        OSError: If the page or a figure cannot be written; names the path.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "search.json").write_text('{"objective": "loss", "direction": "min"}')
        >>> _ = (folder / "trials.csv").write_text("trial,status,objective\n1,completed,0.5\n")
        >>> write_search(folder).name
        'report.html'
    """
    from tflbt.report import figure_files, search_figures  # Matplotlib is only loaded to draw
    from tflbt.report.figure_style import HALF

    folder = received.place(directory)
    received.require_contained(folder, ("search.json", "trials.csv", "report.html", "figures"))
    history = search_files.read(folder)
    drawn = search_figures.draw(history)
    whole = {name: figure.get_figwidth() > HALF[0] for name, figure in drawn.items()}
    shown = [
        page_parts.figure(drawing, _TITLES[name], _CAPTIONS[name], whole[name])
        for name, drawing in figure_files.save_inline(drawn, folder / "figures").items()
    ]
    pages = {
        trial.number: f"trials/{trial.number:04d}/report.html"
        for trial in history.rows
        if (folder / f"trials/{trial.number:04d}/report.html").exists()
    }
    atomic_file.write(folder / "report.html", page(history, shown, pages))
    return folder / "report.html"


def page(history: SearchHistory, figures: Iterable[str], pages: Mapping[int, str]) -> str:
    """Returns the page of a search as one HTML document that loads nothing from outside itself.

    `figures` are HTML, which is not escaped; everything else is. `pages` are the trials' own pages by number.
    """
    return page_parts.document(
        history.name,
        page_parts.header(history.name, _about(history), _notices(history)),
        page_parts.tile_list(tiles(history)),
        _winner(history),
        page_parts.figures("Trials", list(figures)),
        "<h2>Details</h2>",
        _trials(history, pages),
        page_parts.pairs("Search", "search.json", _settings(history)),
        "<footer>Made from <code>search.json</code> and <code>trials.csv</code> by tflbt; "
        "<code>python -m tflbt.report_run</code> makes it again.</footer>",
    )


def _about(history: SearchHistory) -> str:
    """Returns a line on the searched hyper-parameters and the tuner."""
    tuner = history.settings.get("tuner")
    each = history.settings.get("ranks_per_trial")
    names = ", ".join(parameter.name for parameter in history.hyper_parameters)
    return (
        "Hyper-parameter search"
        + (f" with {tuner}" if tuner else "")
        + (f" over {names}" if names else "")
        + (f", {count(each, 'rank')} per trial" if isinstance(each, int) else "")
    )


def _notices(history: SearchHistory) -> list[str]:
    """Returns the lines that a reader must not miss."""
    notices, finished = [], len(history.finished)
    planned = history.settings.get("max_trials")
    if isinstance(planned, int) and finished < planned:
        notices.append(f"This search has {finished} of its {planned} trials.")
    if history.best is None and finished:
        notices.append("No trial ended with an objective; the table of trials says why.")
    if history.gain is not None and history.gain <= 0:
        notices.append("No trial beats the recipe as it is.")
    return notices


def _winner(history: SearchHistory) -> str:
    """Returns the best values beside the recipe's own, and the command that trains them."""
    best = history.best
    if best is None:
        return ""
    defaults = history.settings.get("defaults") or {}
    lines = [
        (name, *(page_parts.shown(values.get(name), "none") for values in (best.values, defaults)))
        for name in best.values
    ]
    recipe = history.baseline
    if recipe is not None:
        finite = math.isfinite(recipe.objective)
        reached = metric_text(history.objective, recipe.objective) if finite else recipe.status
        best_text = metric_text(history.objective, best.objective)
        lines.insert(0, (history.objective, best_text, reached))
    rows = [page_parts.row([page_parts.cell(text) for text in line]) for line in lines]
    columns = ("", f"trial {best.number}", "recipe as it is")
    values = page_parts.fold(
        "Best values", "best.json", page_parts.table(columns, rows), unfolded=True
    )
    return f"<h2>Winner</h2>\n{values}\n<h2>Train it</h2>\n<pre>{escape(_command(history))}</pre>"


def _command(history: SearchHistory) -> str:
    """Returns the command that trains the winner from the search's directory, on as many ranks as its trial had."""
    ranks = history.settings.get("ranks_per_trial")
    start = f"horovodrun -np {ranks} " if isinstance(ranks, int) and ranks > 1 else ""
    return f"{start}python -m tflbt.train --config=best.json --workdir=winner"


def _trials(history: SearchHistory, pages: Mapping[int, str]) -> str:
    """Returns the table of trials, with the winner coloured."""
    rows = history.rows
    continued = any(trial.continues for trial in rows)
    failed = any(trial.message for trial in rows)
    names = list(dict.fromkeys(name for trial in rows for name in trial.values))
    columns = [
        *("trial", "status", history.objective, "best epoch", "epochs", "seconds"),
        *(["continues"] if continued else []),
        *names,
        *(["message"] if failed else []),
    ]
    body = []
    for trial in rows:
        objective = trial.objective if math.isfinite(trial.objective) else None
        seconds = round(trial.seconds, 1) if math.isfinite(trial.seconds) else None
        cells = [_number(trial, pages)]
        values = (trial.status, objective, trial.best_epoch, trial.epochs or None, seconds)
        cells += [page_parts.cell(value) for value in values]
        cells += [page_parts.cell(trial.continues)] if continued else []
        cells += [page_parts.cell(page_parts.shown(trial.values.get(name))) for name in names]
        cells += [page_parts.cell(trial.message, words=True)] if failed else []
        body.append(page_parts.row(cells, trial is history.best))
    note = f"{count(len(body), 'row')}, trials.csv"
    note += "; coloured: the winner" if history.best else ""
    note += "; 0: the recipe as it is" if history.baseline else ""
    return page_parts.fold("Trials", note, page_parts.table(columns, body), unfolded=True)


def _number(trial: TrialRow, pages: Mapping[int, str]) -> str:
    """Returns the cell with a trial's number, which links to its own page if it has one."""
    if trial.number not in pages:
        return page_parts.cell(trial.number)
    return f'<td><a href="{escape(pages[trial.number])}">{trial.number}</a></td>'


def _settings(history: SearchHistory) -> dict[str, Any]:
    """Returns the content of `search.json` without the space and the whole recipe."""
    return {k: v for k, v in history.settings.items() if k not in ("space", "config")}
