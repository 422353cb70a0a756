"""Horovod's launcher with its server on the joining interface and errors in one line, for `horovodrun`'s own options.

python -m tflbt.distributed.horovodrun -np 2 python train.py
python -m tflbt.distributed.horovodrun -np 8 -H node01:4,node02:4 [--network-interface eth0] python train.py

Horovod's own command listens on all interfaces, and shows a traceback of its own below the error of a rank. This one
ends with the status of the rank that ended first.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tflbt.distributed import hosts
from tflbt.distributed.errors import one_line

_CHATTER = re.compile(r"Process \d+ exit with status|Terminating remaining workers")


def bind_servers(address: str) -> None:
    """Makes Horovod's servers in this process (rendezvous, driver) listen on one address, not on all."""
    from horovod.runner.common.util import network
    from horovod.runner.http import http_server

    def find_port(start: Callable[[tuple[str, int]], Any]) -> tuple[Any, int]:
        server = start((address, 0))
        return server, server.server_address[1]

    http_server.find_port = network.find_port = find_port


def status_of(message: str) -> tuple[int, str]:
    r"""The exit status for the shell, and a line about it if the rank has not written one, from Horovod's own error.

    Example:
        >>> status_of("The first process to do so was:\nProcess name: 1\nExit code: 137\n")
        (137, 'rank 1 was ended by SIGKILL, so the job ends')
    """
    found = re.search(r"Process name: (\S+)\nExit code: (-?\d+)", message)
    if found is None:
        return 1, f"error: {message}"
    code = int(found[2])
    number = -code if code < 0 else code - 128
    if number in set(signal.Signals):
        name = signal.Signals(number).name
        return 128 + number, f"rank {found[1]} was ended by {name}, so the job ends"
    return code, ""


def main() -> int:
    """Starts the ranks, waits for them, and returns the status of the first that failed, or 0."""
    from horovod.runner import gloo_run, launch

    # It would import TensorFlow for that, 3 s of every start; where Gloo is not built, the ranks cannot start.
    launch.gloo_built = lambda verbose=False: True
    gloo_run.print = lambda *words: None if _CHATTER.match(str(words[0])) else print(*words)
    args = launch.parse_args()
    try:
        if not args.host_discovery_script and args.min_num_proc is None:
            _choose(args)
        launch._run(args)
    except Exception as error:
        ended = isinstance(error, RuntimeError) and "Exit code" in str(error)
        status, line = status_of(str(error) if ended else one_line(error))
        if line:
            print(f"tflbt: {line}", file=sys.stderr, flush=True)
        return status
    return 0


def _choose(args: Any) -> None:
    """Settles the hosts, and the interface unless one is given."""
    if args.hostfile:
        named = hosts.parse_file(Path(args.hostfile).read_text(), args.hostfile)
    else:
        named = hosts.parse_list(args.hosts or f"localhost:{args.num_proc}")
    named = hosts.shares(named, args.num_proc)
    args.hosts, args.hostfile = ",".join(f"{name}:{n}" for name, n in named.items()), None
    far = hosts.others(named)
    if not args.use_gloo and (args.use_mpi or args.use_jsrun):
        return
    args.use_gloo = True
    interfaces = dict(hosts.addresses())
    name = sorted(args.nics)[0] if args.nics else hosts.joining_interface(named)
    if name not in interfaces:
        raise ValueError(f"--network-interface {name}: this machine has {', '.join(interfaces)}")
    address = str(interfaces[name].ip) if far else "127.0.0.1"
    if far:  # on every host its own interface, which may have another name, and its address
        by_path = [sys.executable, "-I", hosts.__file__, "--hosts", args.hosts]
        chosen = ["--interface", name] if args.nics else []
        args.command = [*by_path, *chosen, "--run", *args.command]
    else:
        os.environ.update(hosts.gloo_variables(address))
    args.nics = {name}
    bind_servers(address)


if __name__ == "__main__":
    sys.exit(main())
