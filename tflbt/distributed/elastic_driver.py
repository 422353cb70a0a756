"""The launcher's side of a job whose ranks come and go: Horovod's ElasticDriver; processes start before they join.

Horovod keeps the ranks; this says for which processes there is a place. Each has a virtual host of its own, so that the
death of a process excludes nothing but itself. It imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from horovod.runner import gloo_run
from horovod.runner.elastic import driver as horovod_driver
from horovod.runner.elastic.discovery import HostDiscovery

from tflbt.distributed import elastic_meeting, watchdog
from tflbt.distributed.verdict import BLIND_LIMIT, LIMIT_VARIABLE

POLL = 0.05  # seconds
GRACE = 30.0  # seconds that a process has to end, with a checkpoint perhaps
ENDED = f", so it is ended. If that is too early, raise the limit with {LIMIT_VARIABLE}=SECONDS (0: never)."


@dataclasses.dataclass(frozen=True)
class Seat:
    """A place for one process: a host, and the number of the process (and its GPU) there, of how many."""

    host: str
    number: int
    places: int


class Worker(elastic_meeting.Answering, Protocol):
    """A process of the job, which has a place from the start, or waits for one."""

    @property
    def ready(self) -> bool:
        """Whether it waits for its place with all done that it can do before."""

    def place(self, environment: dict[str, str]) -> None:
        """Gives it its place, by variables of the environment."""

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""

    def stop(self, *, at_once: bool = False) -> None:
        """Asks it to end, or ends it."""


class Job:
    """One start of a job: runs until all ranks have ended.

    Args:
        seats: Returns where processes may run now.
        start: Starts a process in a seat; with an environment it has its place already.
        first_ranks: How many ranks to begin with.
        max_ranks: The most ranks.
        standby: How many processes, beyond those that are wanted, wait for a place.
        address: What other hosts call this one.
        variables: Environment variables of every rank, such as Gloo's network interface.
        log: Takes a line of the job's events.
    """

    def __init__(
        self,
        seats: Callable[[], list[Seat]],
        start: Callable[[Seat, dict[str, str] | None], Worker],
        *,
        first_ranks: int,
        max_ranks: int,
        standby: int,
        address: str,
        variables: dict[str, str],
        log: Callable[[str], None],
    ) -> None:
        self._find_seats, self._start, self._log = seats, start, log
        self._max_ranks, self._standby, self._address = max_ranks, standby, address
        self._variables, self._meeting = variables, elastic_meeting.Meeting()
        self._numbers = itertools.count()
        self._lock = threading.RLock()
        self._seats: dict[str, Seat] = {}  # of all virtual hosts that there have been
        self._members: dict[str, Seat] = {}  # those that are offered to Horovod
        self._placed: set[str] = set()
        self._workers: dict[str, Worker] = {}  # by virtual host
        self._waiting: dict[Seat, Worker] = {}
        self._leaving: dict[str, Seat] = {}  # have no place any more, and have not ended yet
        self._good_sizes = {first_ranks}
        self._seen_ready: set[Seat] = set()
        self._offers = 0
        self._stopped = False
        self.epochs = 0  # that the ranks have finished
        self.succeeded = False  # whether a rank has ended by itself
        self.statuses: list[int] = []
        for seat in self._find_seats()[:first_ranks]:
            self._members[self._name(seat)] = seat
        if len(self._members) < first_ranks:
            raise ValueError(
                f"there are {len(self._members)} places for {first_ranks} ranks: lower min_ranks, or offer more hosts."
            )
        self._driver: Any = None

    def run(self) -> list[int]:
        """Runs the job; returns the exit statuses of the processes that had a place as it ended."""
        horovod_driver.DISCOVER_HOSTS_FREQUENCY_SECS = POLL
        server = elastic_meeting.Server(self._address)
        count = len(self._members)
        self._driver = horovod_driver.ElasticDriver(
            server, _Offer(self.offer), 1, self._max_ranks, timeout=60
        )
        port = server.start(elastic_meeting.handler(self._driver, self, self._meeting))
        self._variables = {
            **self._variables,
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": self._address,
            "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
            "HOROVOD_CONTROLLER": "gloo",
            "HOROVOD_CPU_OPERATIONS": "gloo",
            "HOROVOD_ELASTIC": "1",
        }
        try:
            self._driver.start(count, self._run_worker)
            self._driver.get_results()
            return self.statuses
        finally:
            self.stop()

    def stop(self) -> None:
        """Ends all processes."""
        with self._lock:
            self._stopped = True
            workers = [*self._waiting.values(), *self._workers.values()]
        if self._driver is not None and not self._driver.finished():
            self._driver.stop()
        for worker in workers:
            worker.stop(at_once=bool(worker.is_stopped()))  # which would not hear of anything else
        until = time.monotonic() + GRACE
        while any(worker.poll() is None for worker in workers) and time.monotonic() < until:
            time.sleep(POLL)
        for worker in workers:
            if worker.poll() is None:
                worker.stop(at_once=True)

    def offer(self) -> dict[str, int]:
        """The virtual hosts that may be ranks now, with one slot each."""
        with self._lock:
            seats = self._find_seats()
            for seat, worker in list(self._waiting.items()):
                if worker.poll() is not None or seat not in seats:
                    worker.stop()
                    del self._waiting[seat]
            for name, seat in list(self._members.items()):
                if seat not in seats:
                    self._leave(name)
            ready = [seat for seat, worker in self._waiting.items() if worker.ready]
            for seat in [seat for seat in ready if seat not in self._seen_ready]:
                self._log(f"{seat.host}-{seat.number} waits for a place")
            self._seen_ready = set(ready)
            most = min(len(seats), self._max_ranks)
            wanted = max((n for n in self._good_sizes if n <= most), default=1)
            possible = min(most, len(self._members) + len(ready))
            size = max((n for n in self._good_sizes if n <= possible), default=1)
            while len(self._members) > size:
                self._leave(next(reversed(self._members)))
            for seat in ready[: size - len(self._members)]:
                name = self._name(seat)
                self._members[name], self._workers[name] = seat, self._waiting.pop(seat)
                self._log(f"announces {name}")
            self._keep_waiting(seats, wanted - len(self._members) + self._standby)
            self._offers += 1
            return dict.fromkeys(self._members, 1)

    def put(self, key: str, value: str) -> None:
        """Takes what ranks say.

        `progress`, of rank 0: the finished epochs, and the numbers of ranks that fit its batch. `stuck`: the virtual
        host of a rank that does not go on, which is ended, and why. `alive`: the virtual host that says so.
        """
        if key == "alive":
            self._meeting.hear(value)
        if key == "stuck":
            name, _, line = value.partition(":")
            self._end(name, line)
        if key == "progress":
            epochs, _, sizes = value.partition(":")
            with self._lock:
                self.epochs = int(epochs)
                before, self._good_sizes = self._good_sizes, {int(n) for n in sizes.split(",")}
            if before != self._good_sizes:
                self._log(f"ranks that fit: {sizes}")

    def get(self, key: str) -> bytes:
        """Answers a rank: "changed", whether ranks would come or go if they met again now; a name: whether it stays."""
        present = set(self._driver._host_manager.current_hosts.available_hosts)
        if key == "changed":
            return b"1" if present != set(self._driver.host_assignments) else b"0"
        return b"1" if key in present else b"0"

    def _name(self, seat: Seat) -> str:
        name = f"{seat.host}-{seat.number}-{next(self._numbers)}"
        self._seats[name] = seat
        return name

    def _end(self, name: str, line: str) -> None:
        """Ends the process of a virtual host at once, and says why."""
        with self._lock:
            worker = self._workers.get(name)
        if worker is not None and worker.poll() is None:
            self._log(f"ends {name}: {line}")
            print(f"tflbt: {line}", file=sys.stderr, flush=True)
            worker.stop(at_once=True)

    def _leave(self, name: str) -> None:
        """Takes a virtual host back; its process, if that has not joined yet, waits again."""
        seat = self._members.pop(name)
        if name in self._placed or name not in self._workers:
            self._leaving[name] = seat
        else:
            self._waiting[seat] = self._workers.pop(name)
        self._log(f"withdraws {name}")

    def _keep_waiting(self, seats: list[Seat], number: int) -> None:
        """Starts processes in free seats, until a number of them wait."""
        taken = {*self._members.values(), *self._leaving.values(), *self._waiting}
        free = [seat for seat in seats if seat not in taken]
        for seat in free[: max(0, number - len(self._waiting))]:
            if not self._stopped:
                self._waiting[seat] = self._start(seat, None)

    def _run_worker(self, slot: Any, events: Iterable[threading.Event]) -> tuple[int, float]:
        """Gives the process of a virtual host its place, and waits for its end."""
        name = slot.hostname
        environment = {**self._variables, **gloo_run.create_slot_env_vars(slot)}
        with self._lock:
            seat = self._seats[name]
            # It may have been withdrawn a moment ago.
            worker = self._workers.get(name) or self._waiting.pop(seat, None)
            has_waited = worker is not None
            if name not in self._members:
                self._leaving[name] = seat
            self._placed.add(name)
            if worker is None:
                worker = self._start(seat, environment)
            else:
                worker.place(environment)
            self._workers[name] = worker
        self._log(f"places {name} as rank {slot.rank} of {slot.size}")
        status = self._await_end(name, worker, events, has_waited)
        with self._lock:
            self._log(f"{name} ended with status {status}")
            left = name in self._leaving
            if not left:
                self._meeting.end(name)
                self.statuses.append(status)
                self.succeeded |= status == 0
            self._leaving.pop(name, None)
            if status:
                self._members.pop(name, None)
            fits = left or not status or len(self._members) in self._good_sizes
            # Otherwise the driver must first know of who else has to leave.
            offers = self._offers + (0 if fits else 2)
        while self._offers < offers and not (self._stopped or self._driver.finished()):
            time.sleep(POLL)
        return status, time.time()

    def _await_end(
        self, name: str, worker: Worker, events: Iterable[threading.Event], has_waited: bool
    ) -> int:
        """Returns a process's exit status; ends it where it does not answer, or takes long to end when it is to."""
        limit, since = watchdog.elastic_limit(), 0.0
        heard = self._meeting.heard
        doubt = elastic_meeting.Doubt(worker, lambda: heard.get(name, 0.0))
        while (status := worker.poll()) is None:
            time.sleep(POLL)
            if any(event.is_set() for event in events):
                since = since or time.monotonic()
                worker.stop(at_once=time.monotonic() - since > GRACE)
            silent = doubt.seconds(self._meeting.waits_for(name, self._driver.host_assignments))
            if limit and silent >= limit:
                stopped = worker.is_stopped()
                # One that has never answered may still import, unless it can be seen that it is stopped.
                if stopped is None and silent < BLIND_LIMIT and not (has_waited or name in heard):
                    continue
                why = "is stopped" if stopped else "does not answer"
                seat = self._seats[name]
                self._end(name, f"process {seat.number} on {seat.host} {why}{ENDED}")
                limit = 0.0
        return status


class _Offer(HostDiscovery):
    """What is offered to Horovod."""

    def __init__(self, offer: Callable[[], dict[str, int]]) -> None:
        super().__init__()
        self._offer = offer

    def find_available_hosts_and_slots(self) -> dict[str, int]:
        """Called every `POLL` seconds."""
        return self._offer()
