"""Errors in one line, and those that only say that another rank has failed, by Horovod's own messages."""

from __future__ import annotations

import dataclasses
import re
import sysconfig
import traceback
from pathlib import Path
from typing import Literal

MOST_CHARACTERS = 2000  # of one line: a message may hold an array, or a recipe's own words
_OURS = str(Path(__file__).resolve().parents[1])
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})

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


@dataclasses.dataclass(frozen=True)
class Frame:
    """A place that an error has passed: file and line, and whose code stands there."""

    place: str
    owner: Literal["user", "tflbt", "library"]


def frames(error: BaseException) -> list[Frame]:
    """The places that an error has passed, the one that raised it last."""
    result = []
    for file, line, *_ in traceback.extract_tb(error.__traceback__):
        is_library = file.startswith(("<", *_LIBRARIES))
        owner = "tflbt" if file.startswith(_OURS) else "library" if is_library else "user"
        short = file.replace(_OURS, "tflbt", 1) if owner == "tflbt" else file
        result.append(Frame(f"{short}, line {line}", owner))  # type: ignore[arg-type]
    return result


def one_line(error: BaseException) -> str:
    """Returns an error's message in one line, without a system error's number or the names of TensorFlow's nodes."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 a class of the user's
        text = ""
    text = re.sub(r"^\[Errno -?\d+\] |\{\{.*?\}\} ?| ?\[Op:\w+\]", "", text)
    text = "".join(c if c.isprintable() else " " for c in text)  # nothing that commands a terminal
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."


def another_rank_ended(error: Exception) -> bool:
    """Whether an error only says that another rank, which has reported its own error, has ended."""
    return _ANOTHER_ENDED.search(str(error)) is not None


def no_answer(error: Exception) -> bool:
    """Whether an error only says that another rank does not answer."""
    return _NO_ANSWER.search(str(error)) is not None


def another_rank_failed(message: str) -> bool:
    """Whether an error's message only says that another rank has failed and waits."""
    return _ANOTHER_FAILED.search(message) is not None
