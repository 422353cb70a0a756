"""The watchdog ends a process that stops beating, and leaves alone one that does not."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import rank_environment
from tflbt.distributed.watchdog import DEFAULT_LIMIT, EXIT_STATUS, Watchdog, configured_limit


def test_a_stuck_process_ends_and_says_where_it_was():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("stuck.py"))],
        cwd=root,
        capture_output=True,
        text=True,
        env=rank_environment(),
        timeout=120,  # long before the program would go on, after 10 minutes
        check=False,
    )
    assert done.returncode == EXIT_STATUS != 0
    assert done.stdout == "alive\n"
    assert (
        f"rank 3 on {socket.gethostname()} made no progress for 1 s after update 3" in done.stderr
    )
    assert "TFLBT_STALL_LIMIT=SECONDS" in done.stderr
    assert "waits in elsewhere (stuck.py:12)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_leaving_stops_it_even_by_an_exception():
    with pytest.raises(KeyError), Watchdog(limit=0.2, rank=0) as dog:
        raise KeyError
    dog._watch._thread.join(timeout=20)
    assert not dog._watch._thread.is_alive()


def test_the_limit_comes_from_the_argument_then_the_environment(monkeypatch):
    monkeypatch.delenv("TFLBT_STALL_LIMIT", raising=False)
    assert configured_limit() == DEFAULT_LIMIT
    monkeypatch.setenv("TFLBT_STALL_LIMIT", "5")
    assert configured_limit() == 5 and configured_limit(7) == 7 and configured_limit(0) == 0
    for wrong in ("soon", "-1", "nan"):
        monkeypatch.setenv("TFLBT_STALL_LIMIT", wrong)
        with pytest.raises(ValueError, match=f"stall_limit='{wrong}' must be a number of seconds"):
            configured_limit()
