"""A rank that raises, hangs or is stopped while another trains ends the job, with a reason; a slow one does not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, rank_environment

PROGRAM = Path(__file__).with_name("lost_rank.py")
STUCK = r"tflbt: rank 1 on \S+ made no progress for 3 s after {} and waits in {}: .* TFLBT_STALL_LIMIT=SECONDS"
FATES = {
    ("gloo", "slow_then_stuck_in_a_callback"): (
        75,
        STUCK.format("sub-batch .*", r"act \(lost_rank.py:\d+\)"),
    ),
    ("gloo", "stuck_before_fit"): (75, STUCK.format("the start", r"<module> \(lost_rank.py:\d+\)")),
    ("mpi", "stopped"): (
        75,
        "rank 1 on .* does not answer, and has not for 3 s: it is stopped, so the job ends",
    ),
    ("gloo", "raises"): (1, "ZeroDivisionError"),
}


@pytest.mark.ranks(2)
@pytest.mark.parametrize(("transport", "fate"), FATES)
def test_a_lost_rank_ends_the_job(transport, fate, tmp_path):
    """Long before rank 1 would go on, which it would after 10 minutes; the sockets of the job are on loopback."""
    done = subprocess.run(
        [ROOT / "launch" / "local.sh", f"--{transport}", "2", "python", PROGRAM, fate],
        env=rank_environment(TFLBT_STALL_LIMIT="3"), cwd=tmp_path, timeout=300, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    status, line = FATES[transport, fate]
    assert re.search(line, done.stdout), done.stdout[-4000:]
    assert done.returncode == status, done.stdout[-4000:]
    assert len(re.findall("tflbt: ", done.stdout)) == (status == 75)
    assert "Horovod detected" not in done.stdout  # horovodrun's traceback
    assert ("worked for long" in done.stdout) == fate.startswith("slow")
    if fate != "stuck_before_fit":
        (listening,) = re.findall("listens on (.*)", done.stdout)
        assert listening and set(listening.split()) <= {"127.0.0.1", "::1"}
