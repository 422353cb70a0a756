"""Connections on which the ranks of a job tell rank 0 how they are, beside Horovod, whose own may be what hangs.

Messages are JSON, bounded in length; both ends prove that they know the job's key.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing import connection
from typing import Any

LONGEST = 4096  # bytes of a message
PATIENCE = 10  # seconds that the other end has for a message that it has begun, or must send


class Link:
    """One end of a connection, with the moment at which the other end was last heard."""

    def __init__(self, wire: connection.Connection, key: bytes, is_hub: bool) -> None:
        """Takes a connection, after both ends have shown that they know the key.

        Raises:
            ConnectionError: If the other end has ended.
            OSError: If it does not answer.
        """
        with socket.socket(fileno=os.dup(wire.fileno())) as same:
            limit = struct.pack("ll", PATIENCE, 0)
            same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        ends = (connection.deliver_challenge, connection.answer_challenge)
        try:
            for prove in ends if is_hub else reversed(ends):
                prove(wire, key)
        except EOFError:
            raise ConnectionError("the other end has ended") from None
        self._wire = wire
        self.heard = time.monotonic()
        self.is_open = True

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message, unless that would wait for the other end."""
        try:
            if self.is_open and select.select([], [self._wire], [], 0)[1]:
                self._wire.send_bytes(json.dumps(message).encode())
        except (OSError, ValueError):
            self.is_open = False

    def receive(self) -> dict[str, Any] | None:
        """Returns the newest message that has come since the last call."""
        message = None
        try:
            while self.is_open and self._wire.poll():
                message = json.loads(self._wire.recv_bytes(LONGEST))
                self.heard = time.monotonic()
        except (OSError, EOFError, ValueError):
            self.is_open = False
        return message

    def close(self) -> None:
        """Ends the connection."""
        self.is_open = False
        self._wire.close()


class Hub:
    """Rank 0's end: it listens on one address, and has a link to each rank that has come."""

    def __init__(self, address: str) -> None:
        self._listener = connection.Listener((address, 0))
        self.key = os.urandom(32)
        self.port = int(self._listener.address[1])
        self.links: dict[int, Link] = {}
        threading.Thread(target=self._accept, name="tflbt-hub", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                wire = self._listener.accept()
            except OSError:
                return  # closed
            # By itself, so that one who only calls keeps nobody waiting.
            threading.Thread(target=self._welcome, args=(wire,), daemon=True).start()

    def _welcome(self, wire: connection.Connection) -> None:
        try:
            link = Link(wire, self.key, is_hub=True)
            rank = int(json.loads(wire.recv_bytes(LONGEST))["rank"])
        except Exception:  # whatever a stranger sends
            wire.close()
            return
        self.links[rank] = link

    def close(self) -> None:
        """Ends all connections."""
        self._listener.close()
        for link in self.links.values():
            link.close()


def call(address: str, port: int, key: bytes, rank: int) -> Link:
    """Connects a rank to rank 0."""
    plain = socket.create_connection((address, port), timeout=10)
    plain.settimeout(None)
    link = Link(connection.Connection(plain.detach()), key, is_hub=False)
    link.send({"rank": rank})
    return link


def address_for(networks: Sequence[Sequence[str]]) -> str | None:
    """The first host's address at which all others reach it: in a network where each has an address of its own.

    Args:
        networks: For each host, its addresses with their networks, such as "10.9.0.1/24".

    Example:
        >>> address_for([["127.0.0.1/8", "172.17.0.1/16", "10.9.0.1/24"], ["172.17.0.1/16", "10.9.0.2/24"]])
        '10.9.0.1'
    """
    hosts = [[ipaddress.IPv4Interface(text) for text in host] for host in networks]
    for own in hosts[0]:
        inside = [{other.ip for other in host if other.ip in own.network} for host in hosts[1:]]
        # A bridge for containers has the same address on every host.
        if not own.is_loopback and all(inside) and all(own.ip not in ips for ips in inside):
            return str(own.ip)
    return None


@contextlib.contextmanager
def plain_session() -> Iterator[Any]:
    """A session of TensorFlow in a graph of its own, which leaves devices to be configured later."""
    import tensorflow as tf

    threads = tf.config.threading
    config = tf.compat.v1.ConfigProto(
        device_count={"GPU": 0},
        intra_op_parallelism_threads=threads.get_intra_op_parallelism_threads(),
        inter_op_parallelism_threads=threads.get_inter_op_parallelism_threads(),
    )
    with tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
        yield session


def exchange(hvd: Any, message: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Returns the messages of all ranks, in their order; every rank must call this."""
    import numpy as np
    import tensorflow as tf

    text = json.dumps(message).encode().ljust(LONGEST)[:LONGEST]
    with plain_session() as session:
        row = tf.constant(np.frombuffer(text, np.uint8)[None])
        rows = session.run(hvd.allgather(row, name=f"tflbt.{name}"))
    return [json.loads(bytes(each)) for each in rows]
