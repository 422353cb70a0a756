"""A rank that raises or hangs while another trains: the job ends, with a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("lost_rank.py")
FATES = {
    "stuck_in_a_callback": "made no progress for 5 s after .* TFLBT_STALL_LIMIT=SECONDS",
    "stuck_before_fit": "made no progress for 5 s after the start",
    "raises": "ZeroDivisionError",
}


@pytest.mark.ranks(2)
@pytest.mark.parametrize("fate", FATES)
def test_a_lost_rank_ends_the_job(fate, run_ranks):
    """Long before rank 1 would go on, which it would after 10 minutes."""
    environment = {"TFLBT_STALL_LIMIT": "5"}
    done = run_ranks(PROGRAM, args=(fate,), check=False, env=environment, timeout=300)
    assert done.returncode != 0
    assert re.search(FATES[fate], done.stdout), done.stdout[-4000:]
