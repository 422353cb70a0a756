"""The exchange of tests/ranks/conftest.py where two ranks differ: none waits for ever, and the reason is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, rank_environment

PROGRAM = Path(__file__).with_name("ranks_that_differ.py")


@pytest.mark.parametrize(
    ("how", "statuses", "says"),
    [
        ("fails_on_one", [0, 0], ["{1: ('failed', 'AssertionError: 1 == 2')}", "{0: ('passed'"]),
        (
            "fails_while_the_other_waits",
            [1, 1],
            ["FAILED test_a (call): rank 0 hangs in it; it failed on another rank", "rank 0 hangs"],
        ),
        ("other_tests", [1, 1], ["the ranks collected different tests"] * 2),
    ],
)
def test_no_rank_waits_for_ever(how, statuses, says, tmp_path):
    ranks = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(tmp_path), str(rank), how],
            env=rank_environment(), cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]  # fmt: skip
    texts = [rank.communicate(timeout=60)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == statuses, texts
    for text, part in zip(texts, says):
        assert part in text, texts
