"""How a job asks to be started again: an exit status, and a file that says with how many ranks."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Beside the watchdog's 75; `launch/relaunch.sh` knows both.
EXIT_STATUS = 76
FILE = "next_ranks"
# The most ranks that whoever starts the job again can grant.
LIMIT_VARIABLE = "TFLBT_MAX_RANKS"


class RestartNeeded(SystemExit):
    """Ends the training, on all ranks after the same update, with status 76; a checkpoint has been written.

    As a `SystemExit` it ends a program that does not catch it, and passes by those who catch every `Exception`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(EXIT_STATUS)
        self.reason = reason

    def __str__(self) -> str:
        """Says why."""
        return self.reason


def ask(directory: Path, ranks: int, reason: str) -> None:
    """Writes, whole or not at all, how many ranks are wanted and in a word why: "2 grow", "1 preempted"."""
    directory.mkdir(parents=True, exist_ok=True)
    draft = directory / f".{FILE}.writing"
    draft.write_text(f"{ranks} {reason}\n")
    os.replace(draft, directory / FILE)


def forget(directory: Path) -> None:
    """Removes what an earlier start asked for: this one is the answer."""
    with contextlib.suppress(OSError):  # whoever writes there next says what is wrong
        (directory / FILE).unlink()


def most_ranks(wanted: int) -> int:
    """The wanted limit, or that of the launcher if it is lower.

    Raises:
        ValueError: If TFLBT_MAX_RANKS is no number.
    """
    text = os.environ.get(LIMIT_VARIABLE, "")
    if not text:
        return wanted
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{LIMIT_VARIABLE}={text!r} must be a whole number of at least 1.")
    return min(wanted, int(text))
