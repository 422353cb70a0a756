"""Decides from what the ranks of a job say about themselves whether one of them is stuck, and which."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

LIMIT_VARIABLE = "TFLBT_STALL_LIMIT"
# Without word from every rank only time is left to judge by: long enough for data that one rank prepares.
BLIND_LIMIT = 600.0
ENDS = "so the job ends"


@dataclasses.dataclass(frozen=True)
class Report:
    """What is known of a rank."""

    rank: int
    host: str
    seat: str = ""  # its place with the launcher, where ranks come and go
    limit: float = 0.0  # seconds, of this rank's `fit`; 0 if it is not in `fit`, or has no limit
    group: int | None = None  # the first of the ranks that train with it; None outside of `fit`
    idle: float = 0.0  # seconds without progress and without use of the processor
    silent: float = 0.0  # seconds since it was heard
    stopped: bool = False  # seen to be stopped, by a rank of the same host
    updates: int = 0  # how often it has reported progress
    after: str = "the start"  # what it finished last
    place: str = (
        ""  # where it is; empty if it waits inside TensorFlow or Horovod, as for other ranks
    )


def limit_of(reports: Sequence[Report]) -> float:
    """The limit of the job, the shortest of its ranks'; 0 if no rank has one."""
    return min((report.limit for report in reports if report.limit), default=0.0)


def verdict(reports: Sequence[Report], everybody: bool = True) -> str | None:
    """Returns the line that says why the job must end, or None while it may go on; see `judge`."""
    found = judge(reports, everybody)
    return found and found[0]


def judge(reports: Sequence[Report], everybody: bool = True) -> tuple[str, list[Report]] | None:
    """Returns why the job must end, and the ranks that are to blame where they are known; None while it may go on.

    A rank that works, however slowly, keeps the job alive: a job is stuck when all ranks that train together are idle.
    One of them is somewhere else than in TensorFlow or Horovod, where the others wait for it.

    Args:
        reports: Of the ranks that have been heard of.
        everybody: Whether these are all ranks; otherwise only time is left to judge by.
    """
    limit = limit_of(reports)
    if not limit:
        return None
    for report in reports:
        if report.silent >= limit:
            why = (
                "it is stopped"
                if report.stopped
                else "it is stopped, or its host cannot be reached"
            )
            line = (
                f"rank {report.rank} on {report.host} does not answer, and has not for {limit:g} s: {why}, "
                f"{ENDS}.{_remedy()}"
            )
            return line, [report]
    for group in sorted({report.group for report in reports if report.group is not None}):
        # One that is not in `fit` yet may be the one that is waited for.
        members = [report for report in reports if report.group in (group, None)]
        needed = limit if everybody else max(limit, BLIND_LIMIT)
        if all(report.idle >= needed for report in members):
            return _stuck(members, needed)
    return None


def _stuck(members: Sequence[Report], limit: float) -> tuple[str, list[Report]]:
    elsewhere = [report for report in members if report.place]
    least = min(report.updates for report in members)
    behind = [report for report in members if report.updates == least]
    found = elsewhere or (behind if len(behind) < len(members) else [])
    since = f"made no progress for {limit:g} s after"
    if not found:
        ranks = ", ".join(f"{report.rank} on {report.host}" for report in members)
        return (
            f"the ranks {ranks} {since} {members[0].after} and wait for one another, {ENDS}.{_remedy()}",
            [],
        )
    text = "; ".join(
        f"rank {report.rank} on {report.host} {since} {report.after}"
        + (f" and waits in {report.place}" if report.place else "")
        for report in found
    )
    line = f"{text}: stuck, without using the processor, {ENDS}.{_remedy()}"
    return line, found


def _remedy() -> str:
    return f" If this was slow work, raise the limit with {LIMIT_VARIABLE}=SECONDS (0: never)."
