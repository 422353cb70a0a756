"""Errors are told in one line, and those of other ranks are recognised by Horovod's messages."""

from __future__ import annotations

import errno

import pytest

from tflbt.distributed.errors import another_rank_ended, another_rank_failed, no_answer, one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("epochs=0\n  must be at least 1."), "epochs=0 must be at least 1."),
        (OSError(errno.ENOSPC, "the disk is full", "run/x"), "the disk is full: 'run/x'"),
        (OSError("[Errno 28] the disk is full: 'run/x'"), "the disk is full: 'run/x'"),
        (OSError("{{function_node __wrapped__SaveV2}} No space left [Op:SaveV2]"), "No space left"),
        (FloatingPointError(), "FloatingPointError"),
    ],
)
def test_an_error_is_one_line(error, line):
    assert one_line(error) == line


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        ("Horovod has been shut down. This was caused by an exception on one of the ranks", True),
        ("[...]/gloo/transport/tcp/pair.cc:598] Connection closed by peer [127.0.0.1]:31121", True),
        ("Mismatched allreduce tensor shapes: One rank sent [3]", False),
    ],
)
def test_the_end_of_another_rank_is_recognised(text, is_so):
    assert another_rank_ended(RuntimeError(text)) == is_so


def test_a_rank_that_does_not_answer_has_not_ended():
    error = RuntimeError(
        "[...]/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 30000ms for recv"
    )
    assert no_answer(error) and not another_rank_ended(error)
    assert not no_answer(RuntimeError("Horovod has been shut down"))


def test_the_failure_of_another_rank_is_recognised():
    assert another_rank_failed("Broadcast is not supported with Join at this time.")
    assert another_rank_failed("AnotherRankFailedError: another rank has failed")
    assert not another_rank_failed("ValueError: no")
