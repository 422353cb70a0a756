"""Who is offered a place in a job whose ranks come and go: no process runs here, and Horovod's driver is not asked."""

from __future__ import annotations

import dataclasses

import pytest

from tflbt.distributed.elastic_driver import Job, Seat


@dataclasses.dataclass
class Fake:
    """A process that does what a test says."""

    seat: Seat
    ready: bool = False
    status: int | None = None

    def place(self, environment):
        self.ready = False

    def poll(self):
        return self.status

    def stop(self, *, at_once=False):
        self.status = -15


SEATS = [Seat("a", 0, 2), Seat("a", 1, 2), Seat("b", 0, 2), Seat("b", 1, 2)]


def make(seats, standby=1, first_ranks=1):
    started, lines = [], []

    def start(seat, place):
        started.append(Fake(seat))
        return started[-1]

    job = Job(
        lambda: seats,
        start,
        first_ranks=first_ranks,
        max_ranks=4,
        standby=standby,
        address="127.0.0.1",
        variables={},
        log=lines.append,
    )
    return job, started, lines


def test_places_go_to_processes_that_are_ready_in_numbers_that_fit():
    job, started, lines = make(list(SEATS))
    assert list(job.offer()) == ["a-0-0"]
    assert [fake.seat for fake in started] == SEATS[1:2]  # one waits beyond those that are wanted
    job.put("progress", "3:1,2,4")
    assert job.epochs == 3 and list(job.offer()) == ["a-0-0"] and len(started) == 3
    started[0].ready = True
    assert list(job.offer()) == ["a-0-0", "a-1-1"]
    started[1].ready = True
    assert len(job.offer()) == 2  # three do not divide the batch
    started[2].ready = True
    assert list(job.offer()) == ["a-0-0", "a-1-1", "b-0-2", "b-1-3"]
    assert lines[-1] == "announces b-1-3"
    job.put("progress", "9:1")
    assert list(job.offer()) == ["a-0-0"] and lines[-1] == "withdraws a-1-1"
    # They have not joined, so they wait again.
    job.put("progress", "10:1,2")
    assert list(job.offer()) == ["a-0-0", "b-1-4"] and len(started) == 3


def test_a_host_that_leaves_takes_its_processes_along():
    seats = list(SEATS)
    job, started, lines = make(seats, standby=0)
    job.put("progress", "1:1,2,3,4")
    job.offer()
    for fake in started:
        fake.ready = True
    assert len(job.offer()) == 4
    del seats[2:]
    assert list(job.offer()) == ["a-0-0", "a-1-1"]
    assert {line for line in lines if "withdraws" in line} == {"withdraws b-0-2", "withdraws b-1-3"}
    seats += SEATS[2:]
    job.offer()
    assert len(started) == 3  # their processes have not ended yet


def test_a_process_that_dies_while_it_waits_is_replaced():
    job, started, _ = make(list(SEATS))
    job.put("progress", "1:1,2")
    job.offer()
    started[0].status = 1
    job.offer()
    assert started[2].seat == started[0].seat and len(job.offer()) == 1


def test_too_few_places_to_begin_with_are_refused():
    with pytest.raises(ValueError, match="2 places for 3 ranks"):
        make(SEATS[:2], first_ranks=3)
