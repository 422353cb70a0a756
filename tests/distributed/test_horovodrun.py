"""What the launcher makes of Horovod's errors; that it starts ranks is seen in tests/launch."""

from __future__ import annotations

import pytest

from tflbt.distributed.horovodrun import status_of

ENDED = "Horovod detected ... The first process to do so was:\nProcess name: 3\nExit code: {}\n"


@pytest.mark.parametrize(
    ("code", "status", "line"),
    [
        (1, 1, ""),
        (75, 75, ""),
        (137, 137, "rank 3 was ended by SIGKILL, so the job ends"),
        (-15, 143, "rank 3 was ended by SIGTERM, so the job ends"),
        (255, 255, ""),
    ],
)
def test_the_job_ends_as_its_first_rank_did(code, status, line):
    assert status_of(ENDED.format(code)) == (status, line)


def test_other_errors_are_a_line():
    assert status_of("could not connect") == (1, "error: could not connect")
