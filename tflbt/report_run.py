"""`python -m tflbt.report_run DIR [DIR ...]`: draws the figures and writes report.html again."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import app

from tflbt import report

_USAGE = "usage: python -m tflbt.report_run DIR [DIR ...]   (run directories of tflbt.train)"


def main(argv: Sequence[str]) -> int:
    """Makes the report of each run directory named on the command line.

    Args:
        argv: The program's name and the directories.

    Returns:
        0 if every report was made, 1 if one could not be, 2 if no directory was named.

    Example:
        >>> import tempfile
        >>> run = report.RunDirectory(tempfile.mkdtemp())
        >>> run.metrics.append({"epoch": 1, "loss": 0.5})
        >>> main(["report_run", str(run.path)])  # doctest: +ELLIPSIS
        /...report.html
        0
    """
    if len(argv) < 2:
        print(_USAGE, file=sys.stderr)
        return 2
    failed = False
    for directory in argv[1:]:
        try:
            print(report.write(directory))
        except (OSError, ValueError) as error:
            print(f"report_run: {error}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    app.run(main)
