"""Hands the trials of one study out to groups of ranks: rank 0 keeps the study, the others ask over a connection."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing import managers
from typing import Any

from tflbt.distributed import comm, watchdog
from tflbt.tuning.study import Study
from tflbt.tuning.trial import Outcome, Trial


class TrialServer:
    """A study for several callers at once, each of which may be another process.

    `begun` is called with each trial that is handed out, `ended` with the number of each trial that has ended.
    """

    def __init__(
        self, study: Study, begun: Callable[[Trial], None], ended: Callable[[int], None]
    ) -> None:
        self._study = study
        self._begun = begun
        self._ended = ended
        self._lock = threading.Lock()
        self._endings: dict[tuple[int, int], dict[int, Any]] = {}

    def next(self) -> Trial | str:
        """As `Study.next`."""
        with self._lock:
            before = set(self._study.outcomes)
            trial = self._study.next()
            for number in sorted(set(self._study.outcomes) - before):
                self._ended(number)  # a trial that keeps killing its job
            if isinstance(trial, Trial):
                self._begun(trial)
            return trial

    def end(self, number: int, outcome: Outcome) -> None:
        """As `Study.end`; if several ranks end the same trial, the first outcome counts."""
        with self._lock:
            if number in self._study.outcomes:
                return
            self._study.end(number, outcome)
            self._ended(number)

    def post(self, trial: Trial, rank: int, ending: Any) -> None:
        """Notes how a trial ended on a rank of its group."""
        with self._lock:
            self._endings.setdefault((trial.number, trial.attempts), {})[rank] = ending

    def posted(self, trial: Trial) -> dict[int, Any]:
        """Returns by rank what the trial's group has posted so far."""
        with self._lock:
            return dict(self._endings.get((trial.number, trial.attempts), {}))


class _Server(managers.BaseManager):
    """Offers a trial server to other processes that have the key drawn by rank 0."""


class _Client(managers.BaseManager):
    """Reaches the trial server from another process."""


_EXPOSED = ("next", "end", "post", "posted")
_Client.register("trial_server", exposed=_EXPOSED)


def connect(server: TrialServer | None) -> Any:
    """Gives every rank rank 0's trial server (None on the others), as it is or as a proxy; every rank must call it."""
    if comm.size() == 1:
        return server
    same_host = comm.local_size() == comm.size()
    place = None if server is None else _serve(server, same_host)
    address, key = comm.broadcast_object(place, "tflbt.tuning.trial_server")
    return _reach(address, key) if server is None else server


def _serve(server: TrialServer, same_host: bool) -> tuple[tuple[str, int], bytes]:
    """Offers the trial server from a thread; returns its address and the key.

    Between hosts it listens on the interface that joins them. Where none is known it listens on every interface and
    gives its host's name: on that host itself the name may stand for 127.0.1.1, where the others would find themselves.
    """
    key = secrets.token_bytes(32)
    _Server.register("trial_server", callable=lambda: server, exposed=_EXPOSED)
    host = "127.0.0.1" if same_host else watchdog.meeting_address()
    listener = _Server(address=(host, 0), authkey=key).get_server()
    threading.Thread(target=listener.serve_forever, name="tflbt-trials", daemon=True).start()
    port: int = listener.address[1]  # type: ignore[index,assignment]
    return (host or socket.gethostname(), port), key


def _reach(address: tuple[str, int], key: bytes) -> Any:
    """Returns a proxy of the trial server at an address."""
    client = _Client(address=address, authkey=key)
    try:
        client.connect()
    except OSError as error:
        raise ConnectionError(
            f"cannot reach rank 0, which hands out the trials, at {address[0]}:{address[1]}: {error}. Are the ranks' "
            "hosts open to each other?"
        ) from error
    return client.trial_server()  # type: ignore[attr-defined]


def exchange_over_server(
    server: Any, trial: Trial, ending: tuple[str, ...], patience: float
) -> list[tuple[str, ...]]:
    """Gathers the endings of a group's ranks, in their order, where `comm.join` does not work: in a process set."""
    server.post(trial, comm.rank(), ending)
    start = time.monotonic()
    while True:
        endings = server.posted(trial)
        if len(endings) == comm.size():
            return [endings[rank] for rank in range(comm.size())]
        if time.monotonic() - start > patience:  # a rank waits for one that has failed
            listed = "; ".join(
                f"rank {rank}: {' '.join(endings[rank]).strip()}" for rank in sorted(endings)
            )
            raise TimeoutError(
                f"only {len(endings)} of the {comm.size()} ranks of trial {trial.number} have ended it ({listed})"
            )
        time.sleep(0.05)
