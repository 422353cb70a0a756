"""Connections of ranks to rank 0: only who knows the key, only newest words, and nobody waits for a rank that hangs."""

from __future__ import annotations

import socket
import time

import pytest

from tflbt.distributed.links import LONGEST, Hub, address_for, call


def until(true) -> None:
    while not true():
        time.sleep(0.01)


@pytest.fixture
def hub():
    hub = Hub("127.0.0.1")
    yield hub
    hub.close()


def test_words_go_both_ways(hub):
    link = call("127.0.0.1", hub.port, hub.key, rank=3)
    until(lambda: 3 in hub.links)
    link.send({"idle": 1})
    link.send({"idle": 2})
    until(lambda: hub.links[3]._wire.poll())
    time.sleep(0.1)
    assert hub.links[3].receive() == {"idle": 2} and hub.links[3].receive() is None
    hub.links[3].send({"end": False})
    until(lambda: link._wire.poll())
    assert link.receive() == {"end": False}
    for _ in range(20_000):  # it never reads: nobody waits for it
        hub.links[3].send({"end": False})
    link.close()
    until(lambda: hub.links[3].receive() is None and not hub.links[3].is_open)


def test_a_stranger_gets_nowhere(hub):
    with socket.create_connection(("127.0.0.1", hub.port)) as silent:  # and keeps nobody waiting
        with pytest.raises(Exception, match="digest|reject"):
            call("127.0.0.1", hub.port, b"wrong", rank=1)
        link = call("127.0.0.1", hub.port, hub.key, rank=2)
        until(lambda: 2 in hub.links)
        silent.send(b"x")
    assert set(hub.links) == {2}
    link._wire.send_bytes(b"[" * (LONGEST + 1))
    until(lambda: hub.links[2].receive() is None and not hub.links[2].is_open)
    link.close()


def test_the_address_in_a_network_of_all_hosts():
    bridge = "172.17.0.1/16"  # of containers, the same on every host
    assert (
        address_for([[bridge, "10.1.0.1/24", "10.9.0.1/24"], [bridge, "10.9.0.2/24"]]) == "10.9.0.1"
    )
    assert address_for([["10.1.0.1/24"], ["10.2.0.1/24"]]) is None
    assert address_for([["127.0.0.1/8"], ["127.0.0.2/8"]]) is None
