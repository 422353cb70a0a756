"""Where the seconds went: parts, totals, and the table."""

from __future__ import annotations

import math

import pytest

from tflbt.report import time_account
from tflbt.runs.history import History


def row(epoch, **parts):
    """An epoch of 10 seconds."""
    return {"epoch": epoch, "seconds": 10.0, **{f"seconds_{k}": v for k, v in parts.items()}}


FULL = [
    row(1, input=0.25, computation=5.0, communication=1.0, curvature=0.5),
    row(2, input=0.25, computation=6.0, communication=1.0, curvature=0.0),
    row(3, input=0.5, computation=7.0, communication=1.0, validation=0.5),
]


def test_parts_and_what_is_left():
    assert time_account.by_epoch(History(FULL)) == {
        "computation": [5.0, 6.0, 7.0],
        "communication": [1.0, 1.0, 1.0],
        "curvature": [0.5, 0.0, 0.0],
        "input": [0.25, 0.25, 0.5],
        "validation": [0.0, 0.0, 0.5],
        "other": [3.25, 2.75, 1.0],
    }
    assert list(time_account.totals(History(FULL)).values()) == [18.0, 3.0, 0.5, 1.0, 0.5, 7.0]
    assert sum(time_account.totals(History(FULL)).values()) == 30.0


def test_the_time_in_which_ranks_met_is_no_part_of_any_epochs_seconds():
    rows = [row(1, computation=9.0), row(2, computation=8.0, resizing=0.5, joining=3.0)]
    assert time_account.by_epoch(History(rows)) == {
        "computation": [9.0, 8.0],
        "resizing": [0.0, 3.5],
        "other": [1.0, 1.5],
    }


def test_clocks_that_disagree_leave_nothing_negative():
    found = time_account.by_epoch(History([row(1, computation=10.001)]))
    assert found == {"computation": [10.001]}


def test_epochs_without_numbers_count_nothing():
    rows = [row(1, computation=6.0), {"epoch": 2, "seconds": math.nan}, {"epoch": 3}]
    assert time_account.totals(History(rows)) == {"computation": 6.0, "other": 4.0}


def test_the_table_has_the_speed_up_over_the_first():
    slow, fast = [row(1, computation=8.0)], [{"epoch": 1, "seconds": 4.0}]
    header, *lines = time_account.table({"bl": History(slow), "absa": History(fast)}).splitlines()
    assert header.split() == ["seconds", "computation", "other", "total", "speed-up"]
    assert [line.split() for line in lines] == [
        ["bl", "8.0", "2.0", "10.0", "1.00x"],
        ["absa", "0.0", "4.0", "4.0", "2.50x"],
    ]


def test_runs_without_times_cannot_be_compared():
    with pytest.raises(ValueError, match=r"gg.* no times"):
        time_account.table({"bl": History(FULL), "gg": History([{"epoch": 1}])})


def test_parts_stand_in_the_documented_order():
    spent = {"bl": {"other": 1.0, "input": 1.0}, "gg": {"computation": 2.0}}
    assert time_account.parts_of(spent) == ["computation", "input", "other"]
