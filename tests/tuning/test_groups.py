"""Groups of two ranks with a trial each: they train as one process does, and a rank's lone failure is recorded."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.tuning import group_of_ranks

PROGRAM = Path(__file__).with_name("group_of_ranks.py")


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "trials.csv").open() as file:
        return [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


@pytest.mark.ranks(4)
def test_groups_train_as_a_process_alone_does_and_a_lone_failure_ends_the_job(run_ranks, tmp_path):
    """Four ranks search twice; in the second search one rank of a group fails alone, which is recorded."""
    alone, groups, failing = (tmp_path / name for name in ("alone", "groups", "failing"))
    done = run_ranks(PROGRAM, 4, args=("2", str(groups), str(failing), "2"), check=False)
    assert "REFUSED ranks_per_group=3 does not divide the 4 ranks: use 1 or 2 or 4." in done.stdout
    assert done.stdout.count("RESULT 4 ") == 4 and len(rows(groups)) == 4
    group_of_ranks.search(1, None, str(alone))
    for ours, theirs in zip(rows(groups), rows(alone)):
        objective = float(theirs.pop("objective"))
        assert float(ours.pop("objective")) == pytest.approx(objective, rel=1e-5)
        assert ours == theirs

    assert done.returncode != 0 and "goes on" not in done.stdout and "--resume" in done.stdout
    failed = next(row for row in rows(failing) if row["trial"] == "2")
    assert failed["status"] == "failed" and "OSError: an accident" in failed["message"]
