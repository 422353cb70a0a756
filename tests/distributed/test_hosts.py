"""Lists and files of hosts, how ranks fill them, and the interface that joins them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tflbt.distributed import hosts


@pytest.mark.parametrize(
    "text",
    [
        "a slots=2\nb slots=1\n",
        "# GPUs\n\n  a   slots = 2 max_slots=4  # first\n\tb\r\n",
        "\ufeffa:2\nb:1",
        "a\nb\na\n",
    ],
)
def test_lines_of_a_file(text):
    assert hosts.parse_file(text) == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a slots=2\nb slots=two\n", "line 2: 'b slots=two'"),
        ("a b", "line 1: 'a b' is not a host"),
        ("a cores=2", "write NAME slots=N"),
        ("a slots=0", "line 1: 0 ranks"),
        ("# none\n", "names no host"),
    ],
)
def test_a_wrong_line_is_named(text, says):
    with pytest.raises(ValueError, match=says):
        hosts.parse_file(text)


def test_lists_and_shares():
    named = hosts.parse_list("a:2, b,a:1")
    assert named == {"a": 3, "b": 1}
    assert hosts.shares(named, 2) == {"a": 2} and hosts.shares(named, 4) == named
    with pytest.raises(ValueError, match=r"5 ranks, but the hosts take 4 \(a:3, b:1\)"):
        hosts.shares(named, 5)
    with pytest.raises(ValueError, match="'b=1' in the list"):
        hosts.parse_list("a:2,b=1")


def test_this_machine_is_joined_by_loopback():
    own = {str(interface.ip) for _, interface in hosts.addresses()}
    assert "127.0.0.1" in own
    assert hosts.others(["localhost", *own]) == []
    assert hosts.joining_interface(["localhost", *own]) == "lo"
    assert hosts.others(["localhost", "198.51.100.7"]) == ["198.51.100.7"]
    with pytest.raises(ValueError, match="'no.such.invalid' is not known"):
        hosts.others(["no.such.invalid"])


def test_gloo_listens_where_it_should_whatever_the_hosts_name_means(monkeypatch):
    monkeypatch.setattr(hosts.socket, "gethostname", lambda: "localhost")
    assert hosts.gloo_variables("127.0.0.1") == {}
    monkeypatch.setattr(hosts.socket, "gethostname", lambda: "no.such.invalid")
    monkeypatch.setenv("CC", "/bin/false")
    monkeypatch.setenv("XDG_CACHE_HOME", "/nonexistent")
    with pytest.raises(ValueError, match="name 'no.such.invalid': not known. Install a C compiler"):
        hosts.gloo_variables("127.0.0.1")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("CC")
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    variables = hosts.gloo_variables("192.0.2.7")
    assert variables["TFLBT_PRELOAD_ADDRESS"] == "192.0.2.7"
    program = "import socket; print(socket.gethostbyname(socket.gethostname()))"
    told = subprocess.check_output(
        [sys.executable, "-c", program], env={**os.environ, **variables}, text=True
    )
    assert told == "192.0.2.7\n"
