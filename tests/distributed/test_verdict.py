"""When a job is stuck, which rank is named, and what is no reason to end it."""

from __future__ import annotations

import pytest

from tflbt.distributed.verdict import BLIND_LIMIT, Report, limit_of, verdict

WAITS = Report(0, "a", limit=45, group=0, idle=50, updates=7, after="sub-batch 9 of epoch 1")
STUCK = Report(
    1, "b (10.0.0.2)", limit=45, group=0, idle=46, updates=7, after="x", place="save (t.py:3)"
)


def changed(report: Report, **fields) -> Report:
    return Report(**{**vars(report), **fields})


@pytest.mark.parametrize(
    ("reports", "says"),
    [
        (
            [WAITS, STUCK],
            "rank 1 on b (10.0.0.2) made no progress for 45 s after x and waits in save (t.py:3): ",
        ),
        (
            [WAITS, changed(STUCK, place="", updates=6)],
            "rank 1 on b (10.0.0.2) made no progress for 45 s after x: ",
        ),
        (
            [WAITS, changed(STUCK, place="")],
            "the ranks 0 on a, 1 on b (10.0.0.2) made no progress for 45 s after ",
        ),
        # It is not in fit yet, where another waits for it.
        (
            [WAITS, changed(STUCK, limit=0.0, group=None, after="the start")],
            "for 45 s after the start and waits in ",
        ),
        (
            [WAITS, changed(STUCK, silent=45.0, idle=0)],
            "rank 1 on b (10.0.0.2) does not answer, and has not for 45 s",
        ),
        (
            [WAITS, changed(STUCK, silent=50.0, stopped=True)],
            "for 45 s: it is stopped, so the job ends.",
        ),
        ([changed(WAITS, limit=20.0), changed(STUCK, idle=21)], "for 20 s"),
        # Two groups: the one that is stuck ends the job while the other trains.
        ([changed(WAITS, group=2, idle=0), STUCK], "rank 1"),
    ],
)
def test_the_line_names_the_rank_and_its_host(reports, says):
    line = verdict(reports)
    assert says in line and "\n" not in line
    assert "raise the limit with TFLBT_STALL_LIMIT=SECONDS (0: never)" in line


@pytest.mark.parametrize(
    "reports",
    [
        [WAITS, changed(STUCK, idle=44)],  # it traced a moment ago, while the other waited for long
        [changed(WAITS, idle=0), STUCK],
        [
            changed(WAITS, idle=900),
            changed(STUCK, group=None, limit=0.0, idle=0),
        ],  # it reads its data
        [changed(WAITS, limit=0.0), changed(STUCK, limit=0.0)],
        [changed(WAITS, limit=0.0, silent=999), changed(STUCK, limit=0.0)],
        [changed(each, limit=0.0, group=None) for each in (WAITS, STUCK)],
    ],
)
def test_work_keeps_a_job_alive(reports):
    assert verdict(reports) is None


def test_without_word_from_all_only_time_counts():
    assert verdict([WAITS], everybody=False) is None
    assert "for 600 s" in verdict([changed(WAITS, idle=BLIND_LIMIT)], everybody=False)
    assert limit_of([WAITS, changed(STUCK, limit=0.0)]) == 45
