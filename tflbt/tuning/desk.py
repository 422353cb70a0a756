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
        study: What has been tried and what comes next.
        begun: Called with each trial that is handed out.
        ended: Called with the number of each trial that has ended.
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
            before = set(self._study.outcomes)
            trial = self._study.next()
            for number in sorted(set(self._study.outcomes) - before):
                self._ended(number)  # one that keeps killing its job
            if isinstance(trial, Trial):
                self._begun(trial)
            return trial

    def end(self, number: int, outcome: Outcome) -> None:
        """As `Study.end`; of several ranks that end the same trial the first is believed."""
        with self._lock:
            if number in self._study.outcomes:
                return
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


_EXPOSED = ("next", "end", "say", "said")
_Client.register("desk", exposed=_EXPOSED)


def open_desk(desk: Desk | None) -> Any:
    """Gives every rank the desk of rank 0, as it is or over a connection; every rank must call it alike.

    Args:
        desk: On rank 0; None on the others.

    Returns:
        The desk, or something with its methods.

    Raises:
        ConnectionError: If a rank cannot reach rank 0; names the place.
    """
    if comm.size() == 1:
        return desk
    one_host = comm.local_size() == comm.size()
    place = None if desk is None else _serve(desk, one_host)
    address, key = comm.broadcast_object(place, "tflbt.tuning.desk")
    return _reach(address, key) if desk is None else desk


def _serve(desk: Desk, one_host: bool) -> tuple[tuple[str, int], bytes]:
    """Offers the desk from a thread; where to reach it, and the key.

    Between hosts it listens everywhere and tells its host's name: on that host itself the name may stand for
    127.0.1.1, where the others would find themselves.
    """
    key = secrets.token_bytes(32)
    _Server.register("desk", callable=lambda: desk, exposed=_EXPOSED)
    server = _Server(address=("127.0.0.1" if one_host else "", 0), authkey=key).get_server()
    threading.Thread(target=server.serve_forever, name="tflbt-desk", daemon=True).start()
    port: int = server.address[1]  # type: ignore[index,assignment]
    return ("127.0.0.1" if one_host else socket.gethostname(), port), key


def _reach(address: tuple[str, int], key: bytes) -> Any:
    """The desk that is offered at a place, for a process that has the key."""
    client = _Client(address=address, authkey=key)
    try:
        client.connect()
    except OSError as error:
        raise ConnectionError(
            f"cannot reach rank 0, which hands out the trials, at {address[0]}:{address[1]}: {error}. Are the ranks' "
            "hosts open to each other?"
        ) from error
    return client.desk()  # type: ignore[attr-defined]


def exchange_at_desk(
    desk: Any, trial: Trial, word: tuple[str, ...], patience: float
) -> list[tuple[str, ...]]:
    """All words of the ranks of a group, for groups in which `comm.meet` does not work; inside `comm.within`.

    Args:
        desk: Where they are noted.
        trial: The trial.
        word: This rank's.
        patience: Seconds to wait for the others.

    Returns:
        The words in the order of ranks.

    Raises:
        TimeoutError: If a rank says nothing, for it waits for one that has failed.
    """
    desk.say(trial, comm.rank(), word)
    began = time.monotonic()
    while True:
        words = desk.said(trial)
        if len(words) == comm.size():
            return [words[rank] for rank in range(comm.size())]
        if time.monotonic() - began > patience:
            told = "; ".join(
                f"rank {rank}: {' '.join(words[rank]).strip()}" for rank in sorted(words)
            )
            raise TimeoutError(
                f"only {len(words)} of the {comm.size()} ranks of trial {trial.number} have ended it ({told})"
            )
        time.sleep(0.05)
