"""Hands the trials of one study out to groups of ranks: rank 0 keeps it, the others ask over a connection."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing import managers
from typing import Any

from tflbt.distributed import comm
from tflbt.tuning.study import Study
from tflbt.tuning.trial import Outcome, Trial


class Desk:
    """A study for several callers at once, each of which may be another process.

    Args:
      study: what has been tried and what comes next.
      begun: called with each trial that is handed out.
      ended: called with the number of each trial that has ended.
    """

    def __init__(
        self, study: Study, begun: Callable[[Trial], None], ended: Callable[[int], None]
    ) -> None:
        self._study = study
        self._begun = begun
        self._ended = ended
        self._lock = threading.Lock()
        self._words: dict[tuple[int, int], dict[int, Any]] = {}

    def next(self) -> Trial | str:
        """As `Study.next`."""
        with self._lock:
            trial = self._study.next()
            if isinstance(trial, Trial):
                self._begun(trial)
            return trial

    def end(self, number: int, outcome: Outcome) -> None:
        """As `Study.end`."""
        with self._lock:
            self._study.end(number, outcome)
            self._ended(number)

    def say(self, trial: Trial, rank: int, word: Any) -> None:
        """Notes how a trial ended on a rank of its group."""
        with self._lock:
            self._words.setdefault((trial.number, trial.attempts), {})[rank] = word

    def said(self, trial: Trial) -> dict[int, Any]:
        """What the ranks of a trial's group have noted so far."""
        with self._lock:
            return dict(self._words.get((trial.number, trial.attempts), {}))


class _Server(managers.BaseManager):
    """Offers a desk to other processes; needs the key that rank 0 drew."""


class _Client(managers.BaseManager):
    """Reaches the desk from another process."""


_Client.register("desk", exposed=("next", "end", "say", "said"))


def open_desk(desk: Desk | None) -> Any:
    """Gives every rank the desk of rank 0, as it is or over a connection; every rank must call it alike.

    Args:
      desk: on rank 0; None on the others.

    Returns:
      The desk, or something with its methods.
    """
    if comm.size() == 1:
        return desk
    place = None
    if desk is not None:
        _Server.register("desk", callable=lambda: desk, exposed=("next", "end", "say", "said"))
        one_host = comm.local_size() == comm.size()
        host, key = "127.0.0.1" if one_host else socket.gethostname(), secrets.token_bytes(32)
        server = _Server(address=(host, 0), authkey=key).get_server()
        threading.Thread(target=server.serve_forever, name="tflbt-desk", daemon=True).start()
        place = (server.address, key)
    address, key = comm.broadcast_object(place, "tflbt.tuning.desk")
    if desk is not None:
        return desk
    client = _Client(address=tuple(address), authkey=key)
    client.connect()
    return client.desk()  # type: ignore[attr-defined]


def exchange_at_desk(desk: Any, trial: Trial, word: Any, patience: float) -> list[Any]:
    """All words of the ranks of a group, for groups in which `comm.meet` does not work; inside `comm.within`.

    Args:
      desk: where they are noted.
      trial: the trial.
      word: this rank's.
      patience: seconds to wait for the others after a first word has come.

    Returns:
      The words in the order of ranks.

    Raises:
      TimeoutError: if a rank says nothing, for it waits for one that has failed.
    """
    desk.say(trial, comm.rank(), word)
    began = time.monotonic()
    while True:
        words = desk.said(trial)
        if len(words) == comm.size():
            return [words[rank] for rank in range(comm.size())]
        if time.monotonic() - began > patience:
            told = "; ".join(f"rank {rank}: {' '.join(word)}" for rank, word in words.items())
            raise TimeoutError(
                f"only {len(words)} of the {comm.size()} ranks of trial {trial.number} have ended it ({told})"
            )
        time.sleep(0.05)
