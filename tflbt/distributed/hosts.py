"""The hosts of a job, from a list or a file, and the interface that joins them; also a program for the launchers.

It needs the standard library and psutil (which Horovod brings) alone, and runs by its path, `python -I hosts.py ...`,
on hosts and in shells that know nothing of tflbt.
"""

from __future__ import annotations

import argparse
import hashlib
import ipaddress
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_LINE = re.compile(r"(?P<name>[^\s:=]+)(:(?P<colon>\d+))?(?P<rest>(\s+[\w-]+\s*=\s*\S+)*)")


def parse_file(text: str, path: str = "hosts file") -> dict[str, int]:
    r"""Returns the ranks of each host of a hosts file: lines `HOST`, `HOST:2` or `HOST slots=2`, comments after #.

    A host without a number takes one rank for each line that names it. `max_slots` is for other programs.

    Raises:
        ValueError: If a line says something else, or the file names no host.

    Example:
        >>> parse_file("# two nodes\n\nnode01 slots=4  # new\nnode02:2\n")
        {'node01': 4, 'node02': 2}
    """
    hosts: dict[str, int] = {}
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        match = _LINE.fullmatch(words)
        options = dict(re.findall(r"([\w-]+)\s*=\s*(\S+)", match["rest"])) if match else {}
        slots = options.pop("slots", (match and match["colon"]) or "1")
        if match is None or set(options) - {"max_slots", "max-slots"} or not slots.isdigit():
            raise ValueError(f"{path}, line {number}: {words!r} is not a host: write NAME slots=N")
        hosts[match["name"]] = hosts.get(match["name"], 0) + _positive(
            slots, f"{path}, line {number}"
        )
    if not hosts:
        raise ValueError(f"{path} names no host: write a line NAME slots=N for each")
    return hosts


def parse_list(text: str) -> dict[str, int]:
    """Returns the ranks of each host of a list such as `node01:4,node02:4`; a host without a number takes one.

    Raises:
        ValueError: If a part of the list is not a host.
    """
    hosts: dict[str, int] = {}
    for part in text.split(","):
        match = re.fullmatch(r"([^\s:=]+)(?::(\d+))?", part.strip())
        if match is None:
            raise ValueError(
                f"{part!r} in the list of hosts {text!r} is not a host: write NAME:N,NAME:N"
            )
        hosts[match[1]] = hosts.get(match[1], 0) + _positive(match[2] or "1", f"the list {text!r}")
    return hosts


def _positive(slots: str, where: str) -> int:
    if not int(slots):
        raise ValueError(f"{where}: 0 ranks on a host; leave the host out")
    return int(slots)


def shares(hosts: dict[str, int], ranks: int) -> dict[str, int]:
    """Returns how many of `ranks` ranks each host takes, filling one host after the other.

    Raises:
        ValueError: If the hosts take fewer ranks.
    """
    if sum(hosts.values()) < ranks:
        names = ", ".join(f"{name}:{slots}" for name, slots in hosts.items())
        raise ValueError(
            f"{ranks} ranks, but the hosts take {sum(hosts.values())} ({names}): raise their slots="
        )
    taken: dict[str, int] = {}
    for name, slots in hosts.items():
        taken[name] = min(slots, ranks - sum(taken.values()))
    return {name: slots for name, slots in taken.items() if slots}


def addresses() -> list[tuple[str, ipaddress.IPv4Interface]]:
    """The interfaces of this machine that have IPv4 addresses, each with its address and network."""
    import psutil

    return [
        (name, ipaddress.IPv4Interface(f"{entry.address}/{entry.netmask or '255.255.255.255'}"))
        for name, entries in psutil.net_if_addrs().items()
        for entry in entries
        if entry.family == socket.AF_INET
    ]


def address_of(host: str) -> str:
    """The IPv4 address of a host.

    Raises:
        ValueError: If its name is not known.
    """
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise ValueError(f"the host {host!r} is not known to this machine ({error})") from error


def others(hosts: Iterable[str]) -> list[str]:
    """Those of the hosts that are not this machine."""
    own = {str(interface.ip) for _, interface in addresses()}
    return [
        host
        for host in hosts
        if not address_of(host).startswith("127.") and address_of(host) not in own
    ]


def joining_interface(hosts: Iterable[str]) -> str:
    """The interface through which this machine reaches the other hosts; loopback's where there are none.

    Raises:
        ValueError: If there is no way to them.
    """
    far = others(hosts)
    address = "127.0.0.1"
    if far:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # sends nothing
                probe.connect((address_of(far[0]), 9))
                address = probe.getsockname()[0]
        except OSError as error:
            raise ValueError(
                f"no way from {socket.gethostname()} to {far[0]!r} ({error})"
            ) from error
    names = [name for name, own in addresses() if str(own.ip) == address]
    if not names:
        raise ValueError(f"no interface has the address {address}: name one by --network-interface")
    return names[0]


def joining_network(hosts: Iterable[str]) -> str:
    """The network, such as 10.9.0.0/24, in which all hosts have an address; empty if there is no such network."""
    hosts = list(hosts)
    network = dict(addresses())[joining_interface(hosts)].network
    inside = all(ipaddress.IPv4Address(address_of(host)) in network for host in others(hosts))
    return str(network) if inside else ""


def preloaded() -> str | None:
    """The file of mpi/own_address.c, compiled at first use into the cache; None without that file or a C compiler."""
    source = Path(__file__).resolve().parents[2] / "mpi" / "own_address.c"
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    try:
        name = f"own-address-{os.uname().machine}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.so"
        library = Path(cache, "tflbt", name)
        if not library.exists():
            library.parent.mkdir(parents=True, exist_ok=True)
            unfinished = library.with_name(f"{name}.{socket.gethostname()}.{os.getpid()}")
            compiler = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O2", "-o"]
            subprocess.run([*compiler, unfinished, source, "-ldl"], check=True, capture_output=True)
            unfinished.replace(library)
    except (OSError, subprocess.CalledProcessError):
        return None
    return str(library)


def gloo_variables(address: str) -> dict[str, str]:
    """The variables with which a rank's Gloo connections are made on this address of this host.

    Horovod 0.28 makes them on the address of the host's name. Where that is another, or not known, mpi/own_address.c
    helps. Every loopback address does for 127.0.0.1.

    Raises:
        ValueError: If it would be needed and cannot be had.
    """
    name = socket.gethostname()
    try:
        own = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None)}
    except OSError:
        own = set()
    if own and all(each == address or _is_loopback(each) and _is_loopback(address) for each in own):
        return {}
    library = preloaded()
    if library is None:
        raise ValueError(
            f"Gloo would not listen on {address} but on the address of this host's name {name!r}: "
            f"{', '.join(sorted(own)) or 'not known'}. Install a C compiler, let /etc/hosts give the name that "
            "address, or use launch/mpirun.sh"
        )
    before = os.environ.get("LD_PRELOAD")
    return {
        "LD_PRELOAD": f"{library}:{before}" if before else library,
        "TFLBT_PRELOAD_ADDRESS": address,
    }


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def main(arguments: list[str] | None = None) -> None:
    """Prints `HOST:N,...`, the ranks, 1 if there are other hosts, and their network, a line each; or runs a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts")
    parser.add_argument("--hostfile")
    parser.add_argument("--ranks", type=int)
    parser.add_argument("--interface")
    parser.add_argument("--preload", action="store_true", help="print what `preloaded` returns")
    parser.add_argument(
        "--run", nargs=argparse.REMAINDER, help="run this, with Gloo on the joining interface"
    )
    options = parser.parse_args(arguments)
    try:
        if options.preload:
            print(preloaded() or "")
            return
        if options.hostfile:
            hosts = parse_file(Path(options.hostfile).read_text(), options.hostfile)
        else:
            hosts = parse_list(options.hosts)
        if options.run:
            name = options.interface or joining_interface(hosts)
            os.environ.update(HOROVOD_GLOO_IFACE=name, NCCL_SOCKET_IFNAME=name)
            os.environ.update(gloo_variables(str(dict(addresses())[name].ip)))
            os.execvp(options.run[0], options.run)
        ranks = options.ranks or sum(hosts.values())
        hosts = shares(hosts, ranks)
        far = others(hosts)
        print(",".join(f"{name}:{slots}" for name, slots in hosts.items()))
        print(f"{ranks}\n{int(bool(far))}\n{joining_network(hosts) if far else ''}")
    except KeyError as error:
        sys.exit(f"this host {socket.gethostname()} has no interface {error} with an IPv4 address")
    except (OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
