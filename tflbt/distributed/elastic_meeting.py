"""Where the ranks of an elastic job meet: Horovod's rendezvous, who is waited for there, and whether it answers.

Linked ranks hear of one another (`watchdog`); one that is stopped before that, or as it ends, only the launcher knows.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

from horovod.runner.elastic.rendezvous import (
    GET_RANK_AND_SIZE,
    PUT_WORKER_ADDRESSES,
    create_rendezvous_handler,
)
from horovod.runner.http import http_server

SCOPE = "tflbt"  # of the rendezvous server's keys that are ours
LOOK = 0.5  # seconds between looks at a process
ASK = 1.0  # seconds between questions, each of which has to be answered within ANSWER
ANSWER = 5.0


class Answering(Protocol):
    """A process, as far as this file knows it."""

    def is_stopped(self) -> bool | None:
        """Whether it has been stopped, as by SIGSTOP; None where that cannot be seen from here."""

    def ask(self) -> None:
        """Has it say that it is alive."""


class Meeting:
    """Who waits for all others, who has ended, and who was heard when, by name."""

    def __init__(self) -> None:
        self._waiting: set[str] = set()
        self._ended: set[str] = set()
        self.heard: dict[str, float] = {}

    @contextlib.contextmanager
    def at_the_door(self, name: str) -> Iterator[None]:
        """A rank waits here for the others."""
        self._waiting.add(name)
        try:
            yield
        finally:
            self._waiting.discard(name)

    def end(self, name: str) -> None:
        """Notes that a rank has ended, after which nothing goes on until the others meet or end."""
        self._ended.add(name)

    def hear(self, name: str) -> None:
        """Notes that a rank has answered."""
        self.heard[name] = time.monotonic()

    def waits_for(self, name: str, ranks: Collection[str]) -> bool:
        """Whether a rank is waited for; `ranks` are those of the last meeting.

        Example:
            >>> meeting = Meeting()
            >>> with meeting.at_the_door("a"):
            ...     [meeting.waits_for(name, "abc") for name in "abcd"]
            [False, True, True, False]
            >>> meeting.end("b")
            >>> meeting.waits_for("a", "abc"), meeting.waits_for("a", "ac")  # which have met since
            (True, False)
        """
        others = bool(self._waiting) or not self._ended.isdisjoint(ranks)
        return others and name in ranks and name not in self._waiting


class Doubt:
    """For how long a process has been stopped, or, where that cannot be seen, has not answered while others wait.

    Args:
        process: The process.
        heard: Returns when it has answered last, on the monotonic clock.
    """

    def __init__(self, process: Answering, heard: Callable[[], float]) -> None:
        self._process, self._heard = process, heard
        self._looked, self._asked, self._silent = time.monotonic(), 0.0, 0.0

    def seconds(self, waited_for: bool) -> float:
        """Looks, or asks, twice a second at most; to be called often.

        Time in which nobody waits counts half: ranks that are linked find by themselves who is stopped, and say more.
        Time in which this launcher did not run itself does not count.
        """
        now = time.monotonic()
        if now - self._looked >= LOOK:
            passed, self._looked = min(now - self._looked, ASK), now
            lost = self._is_stopped_or_silent(now, waited_for)
            self._silent = self._silent + passed * (1 if waited_for else 0.5) if lost else 0.0
        return self._silent

    def _is_stopped_or_silent(self, now: float, waited_for: bool) -> bool:
        stopped = self._process.is_stopped()
        if stopped is not None:
            return stopped
        if not waited_for:
            return False
        if now - self._asked >= ASK:
            self._asked = now
            self._process.ask()
        return now - self._heard() >= ANSWER


class Asked(Protocol):
    """What answers the ranks' requests of ours."""

    def get(self, key: str) -> bytes:
        """Answers a question."""

    def put(self, key: str, value: str) -> None:
        """Takes what a rank says."""


class Server(http_server.RendezvousServer):
    """A rendezvous server that listens on this machine alone where all ranks are on it: it asks for no password."""

    def __init__(self, address: str) -> None:
        super().__init__(0)
        self._address = "127.0.0.1" if address == "127.0.0.1" else ""

    def start(self, handler_cls: Any = http_server.RendezvousHandler) -> int:
        """Starts to listen; returns the port."""
        server = http_server.RendezvousHTTPServer((self._address, 0), handler_cls, 0)
        server.daemon_threads = True  # one that waits for ranks must not keep the launcher
        self._httpd = server
        self._listen_thread = threading.Thread(target=server.serve_forever, daemon=True)
        self._listen_thread.start()
        return server.server_address[1]


def handler(driver: Any, job: Asked, meeting: Meeting) -> Any:
    """Horovod's handler of requests, which answers ours too."""
    base = create_rendezvous_handler(driver)

    class Handler(base):  # type: ignore[misc, valid-type]
        """The rendezvous, what rank 0 says of its progress, and whether ranks are to come or go."""

        def _get_value(self, scope: str, key: str) -> Any:
            if scope == SCOPE:
                return job.get(key)
            if scope != GET_RANK_AND_SIZE:
                return super()._get_value(scope, key)
            with meeting.at_the_door(key.partition(":")[0]):
                return super()._get_value(scope, key)

        def _put_value(self, scope: str, key: str, value: bytes) -> None:
            if scope == SCOPE:
                job.put(key, value.decode("ascii"))
            elif scope != PUT_WORKER_ADDRESSES:  # the driver would wait for a rank that is stopped
                super()._put_value(scope, key, value)

    return Handler
