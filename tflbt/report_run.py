"""Draws the figures of run and search directories and writes their report.html again.

python -m tflbt.report_run DIR [DIR ...]
python -m tflbt.report_run DIR --baseline=DIR0 [--runs=DIR1,DIR2]
python -m tflbt.report_run DIR [DIR ...] --times=FOLDER

A DIR that holds a search of tflbt.tune (search.json) gets the page of its trials.

With a small-batch run as the baseline, page and terminal say whether each DIR's batch size is small, large, huge or
full by the definitions of "The Limit of the Batch Size" (2.1 to 2.3), as far as all these runs tell.

With --times the terminal also shows where the time of all DIRs went, the first being what the others are compared
with, and FOLDER gets time_account.png and .svg: a bar for each (Table II and Fig. 4 of the ABS paper).

python -m tflbt.report_run DIR DIR ... --curves=FOLDER [--columns=loss,eigenvalue] [--over=update]
python -m tflbt.report_run DIR DIR ... --sweep=FOLDER [--against=epochs] [--baseline=DIR0]
python -m tflbt.report_run DIR DIR ... --ladder=FOLDER
python -m tflbt.report_run DIR DIR ... --diffusion=FOLDER --margins=FOLDER

Figures of all DIRs together. Curves: columns of metrics.csv over epochs, updates, samples or seconds. Sweep: the last
epoch's accuracy against a setting, a line per variant. Ladder: the same as bars. Diffusion: the distance from the
initial weights against updates, with its fit. Margins: a panel per variant, margin beside training loss. Runs that
differ by their seed only are drawn as their mean, with a band or bar of one sample deviation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import app, flags, logging

from tflbt import report
from tflbt.runs import received

_BASELINE = flags.DEFINE_string(
    "baseline", None, "Run directory of the small batch that the others are held against."
)
_RUNS = flags.DEFINE_list("runs", [], "More run directories on the same data and network.")
_TIMES = flags.DEFINE_string(
    "times", None, "Folder for a figure of where the time of all these runs went, side by side."
)
_CURVES = flags.DEFINE_string("curves", None, "Folder for figures of columns of all these runs.")
_SWEEP = flags.DEFINE_string(
    "sweep",
    None,
    "Folder for a figure of the final accuracy against a setting, a line per variant.",
)
_LADDER = flags.DEFINE_string(
    "ladder", None, "Folder for bars of the final accuracy of each variant."
)
_DIFFUSION = flags.DEFINE_string(
    "diffusion", None, "Folder for the distances of all these runs from their initial weights."
)
_MARGINS = flags.DEFINE_string(
    "margins", None, "Folder for margins beside losses, a panel for each of these runs."
)
_COLUMNS = flags.DEFINE_list(
    "columns", [], "Columns of metrics.csv to draw; default: the usual ones."
)
_OVER = flags.DEFINE_enum(
    "over", "epoch", ["epoch", "update", "sample", "second"], "The horizontal axis of --curves."
)
_AGAINST = flags.DEFINE_string("against", "batch_size", "The setting on the axis of --sweep.")
_USAGE = (
    "usage: python -m tflbt.report_run DIR [DIR ...] [--baseline=DIR] [--runs=DIR,DIR] [--times=FOLDER] "
    "[--curves=FOLDER] [--sweep=FOLDER] [--ladder=FOLDER]   (directories of tflbt.train and tflbt.tune)"
)


def main(
    argv: Sequence[str],
    baseline: str | None = None,
    runs: Sequence[str] = (),
    times: str | None = None,
    **views: Any,
) -> int:
    """Makes the report of each run or search directory that the command line names after the program's name.

    `views` are the arguments of `tflbt.report.several.views.Views`: figures of all runs together.

    Returns 0 if everything was made, 1 if one could not be, 2 if no directory was named, runs without a baseline, or
    columns without a folder for their figures.
    """
    together = any(
        views.get(folder) for folder in ("curves", "sweep", "ladder", "diffusion", "margins")
    )
    if len(argv) < 2 or (runs and not baseline) or (views.get("columns") and not together):
        print(_USAGE, file=sys.stderr)
        return 2
    directories, failed = argv[1:], False
    for directory in directories:
        try:
            if _is_search(directory):
                print(report.write_search(directory))
                continue
            # The directories beside it are runs too.
            others = [*runs, *(other for other in directories if not _is_search(other))]
            line = report.regime.line(directory, baseline, others) if baseline else ""
            print(report.write(directory, line))
            if line:
                print(line)
        except (OSError, ValueError) as error:
            print(f"report_run: {error}", file=sys.stderr)
            failed = True
        except Exception as error:  # noqa: BLE001  a directory that somebody sent may hold anything
            logging.debug("where it was raised:", exc_info=error)  # shown with --verbosity=1
            kind = f"{type(error).__name__}: {error}"
            print(f"report_run: {directory}: no page can be made of it ({kind})", file=sys.stderr)
            failed = True
    try:
        if times and not failed:
            _compare_times(directories, times)
        if together and not failed:
            _draw_together(directories, baseline, views)
    except (OSError, ValueError) as error:
        print(f"report_run: {error}", file=sys.stderr)
        failed = True
    return int(failed)


def _is_search(directory: str) -> bool:
    """Returns whether a directory holds a search of hyper-parameters."""
    return (received.place(directory) / "search.json").exists()


def _compare_times(directories: Sequence[str], folder: str) -> None:
    """Prints the table and writes the figure of where the time of the runs went."""
    from tflbt.report import figure_files, time_account, time_figure

    runs = [report.RunDirectory(directory) for directory in directories]
    names = [str(run.hyper_parameters.get("variant") or run.path.resolve().name) for run in runs]
    if len(set(names)) < len(names):  # several seeds of a variant
        names = list(directories)
    histories = {name: report.History(run.metrics.read()) for name, run in zip(names, runs)}
    print(time_account.table(histories))
    figure_files.save_all({"time_account": time_figure.compare(histories)}, folder)
    print(os.path.join(folder, "time_account.png"))


def _draw_together(
    directories: Sequence[str], baseline: str | None, views: Mapping[str, Any]
) -> None:
    """Writes the figures of all runs together and prints their paths."""
    from tflbt.report.several.views import Views

    for path in Views(**views).draw(directories, baseline):
        print(path)


def _main(argv: Sequence[str]) -> int:
    """Calls `main` with the flags."""
    together = (_CURVES, _SWEEP, _LADDER, _DIFFUSION, _MARGINS, _COLUMNS, _OVER, _AGAINST)
    views = {flag.name: flag.value for flag in together}
    return main(argv, _BASELINE.value, _RUNS.value, _TIMES.value, **views)


if __name__ == "__main__":
    app.run(_main)
