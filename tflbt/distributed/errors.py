"""Errors in one line, and those that only say that another rank has failed, by Horovod's own messages."""

from __future__ import annotations

import re

# Of ranks that wait for a rank that has ended, over MPI and over Gloo.
_ANOTHER_ENDED = re.compile(
    r"Horovod has been shut down|Connection (closed|reset) by peer|Broken pipe|recv_eof"
)
# Of Gloo, which has waited for long: a rank that is stopped has not ended, nor has one behind a broken cable.
_NO_ANSWER = re.compile(
    r"Timed out waiting|Connection timed out|No route to host|Network is unreachable"
)
# Of ranks that gather or broadcast while a rank that has failed waits in `comm.join`.
_ANOTHER_FAILED = re.compile(r"not supported with Join|another rank has failed")


def one_line(error: Exception) -> str:
    """Returns an error's message in one line, without a system error's number or the names of TensorFlow's nodes."""
    text = re.sub(r"^\[Errno -?\d+\] |\{\{.*?\}\} ?| ?\[Op:\w+\]", "", str(error))
    return " ".join(text.split()) or type(error).__name__


def another_rank_ended(error: Exception) -> bool:
    """Whether an error only says that another rank, which has reported its own error, has ended."""
    return _ANOTHER_ENDED.search(str(error)) is not None


def no_answer(error: Exception) -> bool:
    """Whether an error only says that another rank does not answer."""
    return _NO_ANSWER.search(str(error)) is not None


def another_rank_failed(message: str) -> bool:
    """Whether an error's message only says that another rank has failed and waits."""
    return _ANOTHER_FAILED.search(message) is not None
