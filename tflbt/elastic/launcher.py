"""Starts a job whose ranks come and go, on this machine or on the hosts of a file.

launch/elastic.sh --max-ranks 4 -- python -m tflbt.train --config=FILE.py:VARIANT --workdir=DIR
launch/elastic.sh --max-ranks 8 --standby 2 --hosts hosts.txt --interface eth0 -- python train.py
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tflbt.distributed import activity
from tflbt.distributed import hosts as host_names
from tflbt.distributed.elastic_driver import Job, Seat
from tflbt.distributed.hosts import addresses, parse_file

# What reaches the ranks on other hosts, by the beginnings of names.
FORWARDED = ("HOROVOD_", "TF_", "TFLBT_", "NCCL_", "OMP_", "PYTHONPATH", "PATH", "LD_LIBRARY_PATH")
READY = "TFLBT_ELASTIC_READY"  # what a process prints when it waits for its place


class Process:
    """A process on this machine or, through ssh, on another.

    It ends when its standard input does, so also when this launcher is killed.
    """

    def __init__(
        self, command: list[str], environment: dict[str, str], *, is_here: bool = True
    ) -> None:
        self.ready, self._is_here = False, is_here
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == READY:
                self.ready = True
            else:
                sys.stdout.write(line)
                sys.stdout.flush()

    def place(self, environment: dict[str, str]) -> None:
        """Gives it its place; that it may have died is seen later."""
        self.ready = False
        self._write(json.dumps(environment))

    def ask(self) -> None:
        """Has it say that it is alive: any line does."""
        self._write("?")

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def is_stopped(self) -> bool | None:
        """Whether it, or a process that it has started, has been stopped; None if it runs on another machine."""
        if not self._is_here:
            return None
        return any(map(activity.is_stopped, activity.family(self._process.pid)))

    def poll(self) -> int | None:
        """Its exit status."""
        return self._process.poll()

    def stop(self, *, at_once: bool = False) -> None:
        """Asks it to end, by SIGTERM, or kills it with all that it has started."""
        if self.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL if at_once else signal.SIGTERM)


def is_here(host: str) -> bool:
    """Whether a host is this machine, by its name or one of its addresses."""
    own = [str(interface.ip) for _, interface in addresses()]
    return host in ("localhost", socket.gethostname(), *own) or host.startswith("127.")


class Hosts:
    """The seats that a hosts file offers now: a line a host, `name`, `name slots=4` or `name:4`; `#` begins a comment.

    Without a file there are as many seats on this machine as there may be ranks. A file that names no host or cannot be
    read, while it is being written for example, changes nothing.
    """

    def __init__(self, file: Path | None, here: int) -> None:
        self._file, self._here = file, here
        self._seats: list[Seat] = []

    def __call__(self) -> list[Seat]:
        """The seats, in the order of the file."""
        if self._file is None:
            return seats_of({"localhost": self._here})
        try:
            self._seats = seats_of(parse_file(self._file.read_text(), str(self._file)))
        except (OSError, ValueError):
            if not self._seats:
                raise
        return self._seats


def seats_of(hosts: dict[str, int]) -> list[Seat]:
    """The seats of hosts with so many slots each."""
    return [Seat(host, i, slots) for host, slots in hosts.items() for i in range(slots)]


def environment_of(
    seat: Seat, place: dict[str, str] | None, options: argparse.Namespace
) -> dict[str, str]:
    """The variables that a process gets from the launcher; without a place it has to wait for one."""
    return {
        "TFLBT_ELASTIC": "1",
        "TFLBT_ELASTIC_MAX_RANKS": str(options.max_ranks),
        "TFLBT_ELASTIC_SEAT": f"{seat.number}/{seat.places}",
        "PYTHONUNBUFFERED": "1",
        **({"TFLBT_ELASTIC_RESUME": "1"} if options.resume else {}),
        **(place or {"TFLBT_ELASTIC_STANDBY": "1"}),
    }


def starter(options: argparse.Namespace) -> Callable[[Seat, dict[str, str] | None], Process]:
    """Returns what starts a process in a seat, here or by ssh."""

    def start(seat: Seat, place: dict[str, str] | None) -> Process:
        own = environment_of(seat, place, options)
        if is_here(seat.host):
            return Process(options.command, {**os.environ, **own})
        passed = {name: text for name, text in os.environ.items() if name.startswith(FORWARDED)}
        words = [f"{name}={text}" for name, text in {**passed, **own}.items()]
        remote = (
            f"cd {shlex.quote(os.getcwd())} && exec env {shlex.join([*words, *options.command])}"
        )
        words = [*shlex.split(options.ssh), seat.host, remote]
        return Process(words, dict(os.environ), is_here=False)

    return start


def arguments(words: list[str]) -> argparse.Namespace:
    """The launcher's options, and the command behind `--`."""
    parser = argparse.ArgumentParser(
        prog="launch/elastic.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--max-ranks", type=int, required=True, help="the most ranks")
    add("--min-ranks", type=int, default=1, help="ranks to begin with (default 1)")
    add("--standby", type=int, default=1, help="processes that wait beyond those wanted (1)")
    add("--hosts", type=Path, help="a hosts file, read again and again; default: this machine")
    add("--address", help="what the hosts call this machine; default its address there")
    add("--interface", help="the network interface of the hosts (default: what joins them, or lo)")
    add("--ssh", default="ssh", help="the command that reaches a host (ssh)")
    add("--restarts", type=int, default=10, help="starts from the newest checkpoint, at most (10)")
    add("--log", type=Path, help="a file for the job's events, with their times")
    add("command", nargs=argparse.REMAINDER, help="-- and the program of a rank")
    found = parser.parse_args(words)
    found.resume = False
    found.command = found.command[1:] if found.command[:1] == ["--"] else found.command
    if not found.command:
        parser.error("a command is missing: ... -- python train.py")
    if not 1 <= found.min_ranks <= found.max_ranks:
        parser.error(
            f"--min-ranks {found.min_ranks} --max-ranks {found.max_ranks}: 1 <= min <= max"
        )
    if found.standby < 0:
        parser.error(f"--standby {found.standby} must be at least 0")
    return found


def lost(statuses: list[int]) -> bool:
    """Whether ranks were killed or could not go on, so that starting again may help; an error of a program does not."""
    return any(status < 0 or status == 75 or status > 128 for status in statuses)


def launch(
    options: argparse.Namespace,
    hosts: Callable[[], list[Seat]],
    start: Callable[..., Any],
    local: bool,
) -> int:
    """Runs the job, and starts it again where it was lost, from its checkpoint; returns the exit status.

    Args:
        options: Those of `arguments`.
        hosts: Returns the seats.
        start: Starts a process in a seat.
        local: Whether all ranks are on this machine.
    """
    begun = time.time()

    def log(text: str) -> None:
        if options.log is not None:
            with options.log.open("a") as file:
                file.write(f"{time.time():.3f} launcher {text}\n")

    interface = options.interface or ("lo" if local else None)
    job: Job | None = None

    def end(signal_number: int, frame: object) -> None:
        print(f"tflbt: signal {signal_number} ends the job", file=sys.stderr, flush=True)
        if job is not None:
            job.stop()
        os._exit(128 + signal_number)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end)
    epochs = 0
    for _ in range(options.restarts + 1):
        job = Job(
            hosts,
            start,
            first_ranks=options.min_ranks,
            max_ranks=options.max_ranks,
            standby=options.standby,
            address=options.address or ("127.0.0.1" if local else socket.gethostname()),
            variables={"HOROVOD_GLOO_IFACE": interface} if interface else {},
            log=log,
        )
        failed = [status for status in job.run() if status]
        if job.succeeded:
            log(f"ended after {time.time() - begun:.1f} s")
            return 0
        if job.epochs <= epochs or not lost(failed):
            return next((s if s > 0 else 128 - s for s in failed), 1)
        epochs, options.resume = job.epochs, True
        log(f"starts again after {epochs} epochs")
        print(
            f"tflbt: all ranks are lost after {epochs} epochs (exit statuses {failed}); the job starts again from its "
            "newest checkpoint",
            file=sys.stderr,
            flush=True,
        )
    return 1


def across(options: argparse.Namespace, hosts: list[str]) -> None:
    """Has ranks on several hosts connect on the interface that joins these, whatever address a host's name has.

    On every host that is its own, which may have another name; the launcher is called by its address there.
    """
    interface = options.interface or host_names.joining_interface(hosts)
    own = dict(addresses())
    if options.address is None and interface in own:
        options.address = str(own[interface].ip)
    chosen = ["--interface", options.interface] if options.interface else []
    named = ",".join(f"{host}:1" for host in hosts)
    by_path = [sys.executable, "-I", host_names.__file__, "--hosts", named, *chosen, "--run"]
    options.command = [*by_path, *options.command]


def main(words: list[str] | None = None) -> int:
    """Launches what the command line says."""
    options = arguments(sys.argv[1:] if words is None else words)
    hosts = Hosts(options.hosts, options.max_ranks)
    local = options.hosts is None or all(is_here(seat.host) for seat in hosts())
    try:
        if local:
            own = dict(addresses())[options.interface or "lo"]
            os.environ.update(host_names.gloo_variables(str(own.ip)))
        else:
            across(options, list(dict.fromkeys(seat.host for seat in hosts())))
    except (KeyError, ValueError) as error:
        known = f"; this machine has {', '.join(dict(addresses()))}"
        wrong = f"--interface {error}{known}" if isinstance(error, KeyError) else str(error)
        print(f"tflbt: {wrong}", file=sys.stderr, flush=True)
        return 2

    return launch(options, hosts, starter(options), local)


if __name__ == "__main__":
    sys.exit(main())
