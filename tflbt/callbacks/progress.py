"""`Progress`: how far an epoch has come, as a bar on a terminal or a line now and then in a log file."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any, TextIO

_BAR = 24  # characters
_REDRAW_SECONDS = 0.1  # faster than the eye needs, and negligible beside an update
_LINE_SECONDS = 30.0  # in a log, whose lines stay, only long epochs are reported


class Progress:
    """Shows the progress of one epoch after another on `stream` (None: the present standard output).

    On a terminal this is a bar that is redrawn in place and removed when the epoch ends. Elsewhere (a file,
    `horovodrun`, Slurm) it is one line every 30 seconds, so that only long epochs write any.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._own_stream = stream
        self._shown = 0
        self._label, self._steps = "", 0
        self._began = self._last = 0.0

    @property
    def _stream(self) -> TextIO:
        return self._own_stream or sys.stdout

    def start(self, label: str, steps: int | None) -> None:
        """Begins an epoch of so many steps (None: not known yet); the label, as "epoch 3/60", stands before the bar."""
        self._label, self._steps = label, steps or 0
        self._began = self._last = time.monotonic()

    def update(self, step: int, logs: dict[str, Any] | None = None) -> None:
        """Shows the number of steps done and the loss in the logs, unless the last time was a moment ago."""
        now = time.monotonic()
        terminal = self._stream.isatty()
        if now - self._last < (_REDRAW_SECONDS if terminal else _LINE_SECONDS):
            return
        self._last = now
        text = self._text(step, now - self._began, logs or {})
        if terminal:
            self._stream.write("\r" + text.ljust(self._shown))
            self._shown = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Removes the bar, so that the next line starts at the margin."""
        if self._shown:
            self._stream.write("\r" + " " * self._shown + "\r")
            self._stream.flush()
            self._shown = 0

    def _text(self, step: int, seconds: float, logs: dict[str, Any]) -> str:
        """Returns the text of the bar."""
        parts = [self._label]
        if self._steps:
            share = min(1.0, step / self._steps)
            full = int(share * _BAR)
            parts.append(f"[{'=' * full}{'.' * (_BAR - full)}] {share:4.0%}")
            parts.append(f"{seconds / max(share, 1e-9) * (1 - share):.0f} s left")
        else:
            parts.append(f"{step} steps, {seconds:.0f} s")
        with contextlib.suppress(KeyError, TypeError, ValueError):  # it may be anything
            parts.append(f"loss {float(logs['loss']):.4f}")
        return "  ".join(parts)
