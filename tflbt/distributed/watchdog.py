"""Ends a job in which a rank is stuck or does not answer, because Horovod's own stall check never fires under Gloo."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from tflbt.distributed import links
from tflbt.distributed.activity import Activity, is_stopped, pollers, thread_ids, whereabouts
from tflbt.distributed.hosts import addresses
from tflbt.distributed.launcher import has_ended, mpi_launcher
from tflbt.distributed.verdict import ENDS, LIMIT_VARIABLE, Report, judge, limit_of

# With what the launchers need to end all ranks, a job whose rank is stuck ends within a minute.
DEFAULT_LIMIT = 45.0
EXIT_STATUS = 75
# Of Gloo's own limit, 30 s unless set: where ranks come and go a stuck one must be gone before the others give up.
ELASTIC_SHARE = 0.8


def configured_limit(limit: float | None = None) -> float:
    """The stall limit in seconds: the argument, or TFLBT_STALL_LIMIT, or 45; 0 means no watchdog."""
    text = limit if limit is not None else os.environ.get(LIMIT_VARIABLE, DEFAULT_LIMIT)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ValueError(
            f"stall_limit={text!r} must be a number of seconds, at least 0 (0: never)."
        )
    return seconds


def elastic_limit(limit: float | None = None) -> float:
    """The stall limit where ranks come and go: `configured_limit`, or what Gloo's own leaves."""
    return min(configured_limit(limit), ELASTIC_SHARE * _gloo_limit())


class Watchdog:
    """Ends this process, and with it the job, once no rank that trains with it has worked for `limit` seconds.

    To work is to call `beat`, or to use the processor: tracing, compiling and a machine with too much to do are slow,
    not stuck. The ranks tell rank 0 how they are, see `link`; without word from them only this rank's own idleness
    counts, for ten minutes at least.

    Args:
        limit: In seconds.
        rank: Of this process.
        size: How many ranks there are.
        group: The first of those that train together; None: only whether the others answer counts.
    """

    def __init__(self, limit: float, rank: int, size: int = 1, group: int | None = 0) -> None:
        if _is_elastic():
            limit = elastic_limit(limit)
        self.limit, self.group = limit, group
        self._is_alone = _watch is None
        self._watch = _watch or _Watch(rank, size)

    def __enter__(self) -> Watchdog:
        """Starts watching."""
        self._outer = self._watch.dog
        self._watch.dog = self
        self.beat("the start")
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stops watching."""
        self._watch.dog = self._outer
        if self._is_alone:
            self._watch.stop()

    def beat(self, where: str) -> None:
        """Notes that the rank is alive, and what it finished last."""
        self._watch.updates += 1
        self._watch.after = where


class _Watch:
    """The thread that looks at this rank, hears of the others, and judges."""

    def __init__(
        self, rank: int, size: int, local_rank: int = 0, hidden: Collection[int] = ()
    ) -> None:
        self.rank, self.size, self.local_rank = rank, size, local_rank
        self.host, self.seat = socket.gethostname(), os.environ.get("HOROVOD_HOSTNAME", "")
        self.dog: Watchdog | None = None
        self.updates, self.after = 0, "the start"
        self.hub: links.Hub | None = None
        self.spoke: links.Link | None = None
        self.limit_of_hub = 0.0
        self.address = ""  # of rank 0
        self.lose: Callable[[str, str], None] | None = None  # takes the stuck rank's seat and line
        self._activity = Activity(hidden=hidden)
        self._heard: dict[int, dict[str, Any]] = {}  # what each rank said last
        self._others: dict[int, Activity] = {}  # of ranks on this host that are silent
        self._pids: dict[int, int] = {}  # of these
        self._launcher = mpi_launcher()  # Open MPI's ranks would train on without it for a while
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def start(self) -> None:
        """Starts the thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tflbt-watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread and the connections."""
        self._ended.set()
        for end in (self.hub, self.spoke):
            if end is not None:
                end.close()

    def _run(self) -> None:
        self._activity.hidden.add(threading.get_native_id())
        seen, last, tick = -1, time.monotonic(), 1.0
        while not self._ended.wait(tick):
            now = time.monotonic()
            if (
                now - last > 5 * tick
            ):  # this thread did not run: it cannot judge for how long others were silent
                self._excuse(now)
            last = now
            if self._launcher is not None and has_ended(self._launcher):
                _end_orphan(self._launcher.pid, f"rank {self.rank} on {self.host}")
            idle = 0.0
            if self.updates == seen:
                idle = self._activity.sample()
            else:  # an update in every tick costs no look at the threads
                seen = self.updates
                self._activity.restart()
            own = self.report(idle)
            found = self._as_hub(own) if self.spoke is None else self._as_spoke(own)
            if found is not None:
                self._end(*found)
            tick = min(1.0, (limit_of([own]) or self.limit_of_hub or 8.0) / 8)

    def said(self, own: Report) -> dict[str, Any]:
        """What this rank says of itself to another, which may be on the same host and look at its threads."""
        return {**vars(own), "pid": os.getpid(), "hidden": sorted(self._activity.hidden)}

    def meet(self, introductions: Sequence[dict[str, Any]]) -> None:
        """Takes what all ranks said as they met: one may be stopped before it says any more."""
        self._heard = dict(enumerate(introductions))

    def report(self, idle: float = 0.0) -> Report:
        """How this rank is, which has been idle for so many seconds."""
        dog = self.dog
        return Report(
            rank=self.rank, host=self.host, seat=self.seat, limit=dog.limit if dog else 0.0,
            group=dog.group if dog else None, idle=idle, updates=self.updates, after=self.after if dog else "the start",
            place=whereabouts() if idle else "",
        )  # fmt: skip

    def _excuse(self, now: float) -> None:
        for link in [*(dict(self.hub.links) if self.hub else {}).values(), self.spoke]:
            if link is not None:
                link.heard = now

    def _as_hub(self, own: Report) -> tuple[str, list[Report]] | None:
        """Rank 0, or one without connections, judges by all reports, and tells the others what it found."""
        reports, missing = [own], self.size - 1
        open_links = {}
        for rank, link in sorted(dict(self.hub.links if self.hub else {}).items()):
            if rank not in self._heard:
                continue  # it has met all others a moment before this one
            self._heard[rank] = link.receive() or self._heard[rank]
            missing -= 1
            if not link.is_open:
                continue  # it has ended, of which Horovod tells the others
            open_links[rank] = link
            reports.append(self._of_another(self._heard[rank], link))
        found = judge(reports, everybody=missing == 0)
        ends = found is not None and not self._may_lose(found[1])
        word = {**self.said(own), "limit": limit_of(reports), "end": ends}
        for link in open_links.values():
            link.send(word)
        return found

    def _as_spoke(self, own: Report) -> tuple[str, list[Report]] | None:
        """Another rank tells rank 0 how it is; it judges only whether rank 0 answers."""
        assert self.spoke is not None
        word = self.spoke.receive()
        if word is not None:
            self._heard[0] = word
            self.limit_of_hub = word["limit"]
            if word["end"]:  # rank 0 says why
                _leave()
        if not self.spoke.is_open:  # rank 0 has ended, of which Horovod tells this one
            return judge([own], everybody=False)
        self.spoke.send(self.said(own))
        limit = limit_of([own, dataclasses.replace(own, limit=self.limit_of_hub)])
        # Whether rank 0 answers, and no more: that it is idle may be this rank's fault.
        said = {"rank": 0, "limit": limit, "group": None}
        found = judge([self._of_another({**self._heard[0], **said}, self.spoke)])
        first_here = 1 if self._heard[0]["host"] == self.host else 0
        is_first = self.local_rank <= first_here or self.lose is not None
        if found is not None and not is_first:  # one line a host
            _leave()
        return found

    def _of_another(self, said: dict[str, Any], link: links.Link) -> Report:
        """What another rank said; one that is silent but works, seen on the same host, is only late."""
        silent = time.monotonic() - link.heard
        fields = Report.__dataclass_fields__
        report = {name: value for name, value in said.items() if name in fields}
        stopped = False
        if silent < min(3.0, (said["limit"] or 12.0) / 4):
            self._others.pop(said["rank"], None)
        elif said["host"] == self.host:
            another = Activity(said["pid"], said["hidden"])
            another = self._others.setdefault(said["rank"], another)
            silent = min(silent, another.sample())
            stopped = is_stopped(said["pid"])
            self._pids[said["rank"]] = said["pid"]
        return Report(**{**report, "silent": silent, "stopped": stopped})

    def _may_lose(self, to_blame: Sequence[Report]) -> bool:
        """Whether the others can go on without the ranks that are to blame."""
        return self.lose is not None and bool(to_blame)

    def _end(self, line: str, to_blame: Sequence[Report]) -> None:
        if self.lose is not None and self._may_lose(to_blame):
            try:
                for report in to_blame:
                    self.lose(report.seat, line.replace(ENDS, "so the others go on without it"))
            except OSError:
                pass  # there is no launcher any more
            else:
                self._excuse(time.monotonic())
                self.updates += 1  # for this rank too time begins anew
                return
        # Not sys.stderr: the main thread may be stuck while it writes to that.
        os.write(2, f"tflbt: {line}\n".encode())
        _leave([self._pids[report.rank] for report in to_blame if report.stopped])


def _leave(stopped: Sequence[int] = ()) -> None:
    """Ends this process, after a moment in which all ranks hear that they are to end.

    What Horovod says on losing the others is not the news. mpirun, and its daemons on other hosts, wait for ever for a
    host that they have lost: one that is still there after a while is ended. So are processes that were `stopped`,
    which no launcher's SIGTERM reaches, once this one has ended with its status.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with contextlib.suppress(OSError):
        parent = os.getppid()
        if Path(f"/proc/{parent}/comm").read_text().startswith(("mpirun", "orte")):
            _kill_after(10, parent)
        for pid in stopped:
            _kill_after(2, pid)
    time.sleep(1.3)
    os._exit(EXIT_STATUS)


def _end_orphan(launcher: int, rank: str) -> None:
    """Ends this process, whose launcher has been killed and took the ranks' output with it, as a rule."""
    with contextlib.suppress(OSError):
        os.write(2, f"tflbt: mpirun, process {launcher}, has ended, so {rank} ends\n".encode())
    os._exit(EXIT_STATUS)


def _kill_after(seconds: int, pid: int) -> None:
    """Has a process killed in a while, if its number is not another's by then."""
    began = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    words = ["/bin/sh", "-c", _KILL, str(seconds), str(pid), began]
    subprocess.Popen(
        words, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


# After the program's name in brackets, which has no blank of its own here, the 20th field is when it began.
_KILL = 'sleep "$0"; set -- "$1" "$2" $(sed "s/.*)//" "/proc/$1/stat"); [ "${22}" != "$2" ] || kill -s KILL "$1"'

_watch: _Watch | None = None
_before: set[int] | None = None  # the threads of the time before Horovod


def _is_elastic() -> bool:
    """Whether ranks come and go."""
    return os.environ.get("HOROVOD_ELASTIC") == "1"


def _gloo_limit() -> float:
    """Seconds after which Gloo gives up waiting for a rank."""
    return float(os.environ.get("HOROVOD_GLOO_TIMEOUT_SECONDS", "30"))


def note_threads() -> None:
    """Notes this process's threads before Horovod starts, so that `link` need not find Horovod's by what they do."""
    global _before
    _before = thread_ids()


def link(lose: Callable[[str, str], None] | None = None) -> None:
    """Connects the ranks, so that they hear of one another beside Horovod; every rank must call this, again is no harm.

    Rank 0 listens on loopback where all ranks are on one host, and otherwise on the interface that joins the hosts.

    Args:
        lose: Where ranks come and go, tells the launcher which seat's rank to end, and why.
    """
    global _watch, _before
    import horovod.tensorflow as hvd

    if _watch is not None or hvd.size() == 1 or (_is_elastic() and lose is None):
        return
    hidden = pollers() if _before is None else thread_ids() - _before
    _before = None
    _watch = watch = _Watch(hvd.rank(), hvd.size(), hvd.local_rank(), hidden)
    watch.lose = lose
    # Who is stopped in here is not known yet: time alone counts, or Gloo, which ends this where ranks come and go.
    alone = Watchdog(configured_limit(), watch.rank)
    with contextlib.nullcontext() if _is_elastic() else alone:
        _introduce(hvd, watch)
    watch.start()


def _introduce(hvd: Any, watch: _Watch) -> None:
    """Has all ranks say what they are, and connects this one to rank 0."""
    address, trouble = "127.0.0.1", "no network has an address of every host"
    is_here = _is_elastic() and os.environ.get("HOROVOD_GLOO_RENDEZVOUS_ADDR") == address
    if hvd.local_size() < hvd.size() and not is_here:
        address = watch.address = _meet(hvd, watch) or ""
    offer: dict[str, Any] = {}
    if watch.rank == 0 and address:
        watch.hub = links.Hub(address)
        offer = {"port": watch.hub.port, "key": watch.hub.key.hex()}
    everyone = links.exchange(hvd, {**watch.said(watch.report()), **offer}, "offer")
    watch.meet(everyone)
    offer = everyone[0]
    if "port" in offer and watch.rank:
        try:
            key = bytes.fromhex(offer["key"])
            watch.spoke = links.call(address, offer["port"], key, watch.rank)
        except OSError as error:
            trouble = f"{address}: {error}"
    if watch.hub is None and watch.spoke is None:
        logging.warning(
            "rank %d cannot reach rank 0 beside Horovod (%s): a stuck rank is noticed after ten minutes only.",
            watch.rank, trouble,
        )  # fmt: skip


def _meet(hvd: Any, watch: _Watch) -> str | None:
    """The address of rank 0 for all hosts, if there is one; the watch's name of its host gets the host's own."""
    chosen = os.environ.get("HOROVOD_GLOO_IFACE") or os.environ.get("NCCL_SOCKET_IFNAME")
    own = [(name, str(address)) for name, address in addresses() if name != "lo"]
    named = [address for name, address in own if name == chosen] or [text for _, text in own]
    everyone = [each["own"] for each in links.exchange(hvd, {"own": named[:40]}, "addresses")]
    hosts = [list(host) for host in dict.fromkeys(map(tuple, everyone))]
    address = links.address_for(hosts)
    mine = [everyone[watch.rank], *(host for host in hosts if host != everyone[watch.rank])]
    watch.host = f"{watch.host} ({links.address_for(mine) or 'no common network'})"
    return address


def meeting_address() -> str:
    """Rank 0's address on the interface that joins the hosts; empty if there is one host, or none is known."""
    return _watch.address if _watch is not None else ""


def meeting() -> contextlib.AbstractContextManager[Any]:
    """Watches whether those that `link` connected answer, while this rank waits for others to come, however long."""
    if _watch is None:
        return contextlib.nullcontext()
    return Watchdog(configured_limit(), _watch.rank, group=None)


def unlink() -> None:
    """Ends what `link` began, before Horovod shuts down or starts anew with other ranks."""
    global _watch
    if _watch is not None:
        _watch.stop()
        _watch = None
