"""The command `python -m tflbt.doctor`: what is installed, what is missing, could training start?

It parses and prints; `tflbt.doctor.machine` examines the machine, and `tflbt.doctor.diagnosis` decides.
"""

from __future__ import annotations

import argparse
import platform
import sys

from tflbt.doctor.diagnosis import could_train, judge, render
from tflbt.doctor.machine import SECONDS, gather, try_ranks


def main(arguments: list[str] | None = None) -> int:
    """Prints the report; returns 0 if training could start, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tflbt.doctor", description=__doc__)
    parser.add_argument(
        "--ranks",
        type=int,
        default=1,
        metavar="N",
        help="judge for N ranks on this machine, and let N real ones reduce a number (default 1)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        metavar="S",
        help="wait so long for each part, and longer on a machine with much to do (default %(default).0f)",
    )
    options = parser.parse_args(arguments)
    ranks = options.ranks
    if ranks < 1:
        parser.error(f"--ranks must be at least 1, not {ranks}")
    if not 0 < options.seconds < float("inf"):
        parser.error(f"--seconds must be more than 0, not {options.seconds}")
    facts = gather(options.seconds)
    findings = judge(facts, ranks)
    if ranks > 1 and could_train(findings):
        findings.append(try_ranks(ranks, facts.horovod_parts, options.seconds))
    print(f"tflbt on {platform.system()} {platform.machine()}\n{render(findings)}")
    if could_train(findings):
        print("Training can start.")
        return 0
    if any(finding.status == "error" for finding in findings):
        print("Training could not start: fix what is marked error.")
    else:
        print("Not everything answered in time: whether training can start is not known.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
