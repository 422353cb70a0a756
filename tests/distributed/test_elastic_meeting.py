"""A process that others wait for is ended where it is stopped or does not answer; one that answers is left alone."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import rank_environment
from tflbt.distributed import elastic_driver, elastic_meeting
from tflbt.distributed.elastic_driver import Job, Seat
from tflbt.elastic import launcher

# In place of ssh: takes the host for its own name, and runs the command here.
SSH = "sh -c 'exec sh -c \"$1\"'"
STOPS = "test $TFLBT_ELASTIC_SEAT = 0/1 || kill -STOP $$"


@pytest.mark.parametrize(("host", "why"), [("localhost", "is stopped"), ("far", "does not answer")])
def test_a_rank_that_is_stopped_as_it_ends(host, why, monkeypatch, capfd):
    """Rank 0 has ended; Horovod's driver would wait for rank 1 without end."""
    monkeypatch.setenv("HOROVOD_GLOO_TIMEOUT_SECONDS", "1")
    monkeypatch.setattr(elastic_driver, "BLIND_LIMIT", 1.0)  # this one has never said a word
    monkeypatch.setattr(elastic_driver, "GRACE", 1.0)
    job = started(Seat("localhost", 0, 1), Seat(host, 1, 2), STOPS)
    assert sorted(job.run()) == [-signal.SIGKILL, 0] and job.succeeded
    assert f"tflbt: process 1 on {host} {why}, so it is ended." in capfd.readouterr().err


def test_a_rank_that_is_alone_and_stopped(monkeypatch, capfd):
    """Nobody waits for it but the launcher."""
    monkeypatch.setenv("HOROVOD_GLOO_TIMEOUT_SECONDS", "1")
    assert started(Seat("localhost", 0, 1), "kill -STOP $$").run() == [-signal.SIGKILL]
    assert "process 0 on localhost is stopped, so" in capfd.readouterr().err


def test_a_process_that_answers_is_left_alone():
    meeting, server = elastic_meeting.Meeting(), elastic_meeting.Server("127.0.0.1")
    job = Heard(meeting)
    port = server.start(elastic_meeting.handler(None, job, meeting))
    place = {"HOROVOD_HOSTNAME": "a", "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1"}
    place["HOROVOD_GLOO_RENDEZVOUS_PORT"] = str(port)
    program = [sys.executable, str(Path(__file__).with_name("answers.py"))]
    process = launcher.Process(program, rank_environment(), is_here=False)
    doubt = elastic_meeting.Doubt(process, lambda: meeting.heard.get("a", 0.0))
    try:
        while not process.ready:
            assert process.poll() is None
            time.sleep(0.05)
        assert doubt.seconds(False) == 0 and not meeting.heard
        process.place(place)
        until(lambda: doubt.seconds(True) == 0 and "a" in meeting.heard)
        os.kill(process._process.pid, signal.SIGSTOP)
        until(lambda: doubt.seconds(True) > 1)
        os.kill(process._process.pid, signal.SIGCONT)
        until(lambda: doubt.seconds(True) == 0)
    finally:
        process._process.stdin.close()  # as where its launcher ends
        assert process._process.wait(timeout=60) == 75
        server.stop()


def started(*seats_and_program):
    *seats, program = seats_and_program
    words = ["--max-ranks", "2", "--ssh", SSH, "--", "sh", "-c", program]
    return Job(
        lambda: seats,
        launcher.starter(launcher.arguments(words)),
        first_ranks=len(seats),
        max_ranks=2,
        standby=0,
        address="127.0.0.1",
        variables={},
        log=lambda line: None,
    )


class Heard:
    """A job that only hears who is alive."""

    def __init__(self, meeting):
        self.meeting = meeting

    def put(self, key, value):
        assert key == "alive"
        self.meeting.hear(value)


def until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
