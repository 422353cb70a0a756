"""Draws the figures of run directories and writes their report.html again.

python -m tflbt.report_run DIR [DIR ...]
python -m tflbt.report_run DIR --baseline=DIR0 [--runs=DIR1,DIR2]

With a small-batch run as the baseline, page and terminal say whether each DIR's batch size is small, large, huge or
full by the definitions of "The Limit of the Batch Size" (2.1 to 2.3), as far as all these runs tell.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import app, flags

from tflbt import report

_BASELINE = flags.DEFINE_string(
    "baseline", None, "Run directory of the small batch that the others are held against."
)
_RUNS = flags.DEFINE_list("runs", [], "More run directories on the same data and network.")
_USAGE = (
    "usage: python -m tflbt.report_run DIR [DIR ...] [--baseline=DIR] [--runs=DIR,DIR]   "
    "(run directories of tflbt.train)"
)


def main(argv: Sequence[str], baseline: str | None = None, runs: Sequence[str] = ()) -> int:
    """Makes the report of each run directory named on the command line.

    Args:
        argv: The program's name and the directories.
        baseline: Directory of a small-batch run; default None: no regimes are told.
        runs: Directories of further runs that help to tell them; default none.

    Returns:
        0 if every report was made, 1 if one could not be, 2 if no directory was named, or runs
        without a baseline.

    Example:
        >>> import tempfile
        >>> run = report.RunDirectory(tempfile.mkdtemp())
        >>> run.metrics.append({"epoch": 1, "loss": 0.5})
        >>> main(["report_run", str(run.path)])  # doctest: +ELLIPSIS
        /...report.html
        0
    """
    if len(argv) < 2 or (runs and not baseline):
        print(_USAGE, file=sys.stderr)
        return 2
    directories, failed = argv[1:], False
    for directory in directories:
        try:
            # The directories beside it are runs too.
            others = [*runs, *directories]
            line = report.regime.line(directory, baseline, others) if baseline else ""
            print(report.write(directory, line))
            if line:
                print(line)
        except (OSError, ValueError) as error:
            print(f"report_run: {error}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    app.run(lambda argv: main(argv, _BASELINE.value, _RUNS.value))
