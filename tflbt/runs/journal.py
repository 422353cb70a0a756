"""The events of a search, one per line, written so that a kill loses at most the event being written."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from tflbt.runs import atomic_file, received

MOST_BYTES = 2**28  # 10,000 trials of 1,000 epochs


class Journal:
    """An append-only file of JSON objects, each flushed to the disk before `append` returns."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def append(self, event: dict[str, Any]) -> None:
        """Adds an event; if it cannot be written (no space), the error names the file, which is as it was before."""
        line = json.dumps(event, allow_nan=True) + "\n"
        atomic_file.unshare(self.path)
        size = self.path.stat().st_size if self.path.exists() else 0
        with atomic_file.naming(self.path, "cannot write"):
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(self.path, flags, 0o666), "ab") as file:
                    file.write(line.encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, size)
                raise

    def events(self) -> list[dict[str, Any]]:
        """Reads the events; half a line that a kill left at the end is cut off the file."""
        if not self.path.exists():
            return []
        data = received.read(self.path, MOST_BYTES)
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            atomic_file.unshare(self.path)
            with open(os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW), "wb") as file:
                file.truncate(len(whole))
        events = []
        for number, line in enumerate(whole.decode("utf-8", "replace").split("\n")[:-1], start=1):
            try:
                event = received.parse_json(line)
            except ValueError as error:
                raise ValueError(
                    f"{self.path}, line {number}, is damaged: {line[:60]!r}"
                ) from error
            if not isinstance(event, dict) or "event" not in event:
                raise ValueError(f"{self.path}, line {number}, is not an event: {line[:60]!r}")
            events.append(event)
        return events
