"""The trial server hands a study out to several processes: each trial once, only to processes that have the key."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tflbt.distributed import comm
from tflbt.tuning import trial_server
from tflbt.tuning.study import DONE
from tflbt.tuning.trial import Outcome, Trial
from tflbt.tuning.trial_server import TrialServer, connect, exchange_over_server


@pytest.fixture
def events():
    """The beginnings and ends that a server has reported."""
    return []


@pytest.fixture
def server(invented, events):
    """A server of 12 trials at random."""
    study = invented.study(groups=2, max_trials=12)
    return TrialServer(
        study,
        lambda trial: events.append(f"begun {trial.number}"),
        lambda n: events.append(f"ended {n}"),
    )


def test_one_process_needs_no_connection(server):
    assert connect(server) is server


def test_tells_of_every_beginning_and_end(server, events):
    first, second = server.next(), server.next()
    server.end(second.number, Outcome("completed", (0.5,)))
    server.end(second.number, Outcome("failed"))  # another rank of its group, too late
    with pytest.raises(ValueError, match="number=7 is no running trial"):
        server.end(7, Outcome("completed"))
    assert first.number == 1 and events == ["begun 1", "begun 2", "ended 2"]


def test_tells_of_a_trial_that_fails_as_it_keeps_killing_its_job(invented, events):
    path = invented.path()
    for _ in range(6):
        invented.study(path=path, max_trials=1).next()
    server = TrialServer(
        invented.study(path=path, max_trials=1),
        lambda trial: events.append(trial.number),
        lambda n: events.append(-n),
    )
    assert server.next() == DONE and events == [-1]


def test_two_processes_never_get_the_same_trial(server):
    address, key = trial_server._serve(server, same_host=True)
    assert address[0] == "127.0.0.1" and len(key) == 32
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("server_client.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(json.dumps([address, key.hex()]) + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
    mine = []

    def work():
        reached = trial_server._reach(address, key)
        while isinstance(trial := reached.next(), Trial):
            mine.append(trial.number)
            time.sleep(0.01)
            reached.end(trial.number, Outcome("completed", (0.5,)))
        assert trial == DONE

    worker = threading.Thread(target=work)
    process.stdin.write("go\n")
    process.stdin.flush()
    worker.start()
    worker.join(30)
    *theirs, last = process.communicate(timeout=30)[0].split()
    theirs = [int(number) for number in theirs]
    assert process.returncode == 0 and last == DONE
    assert sorted([*mine, *theirs]) == list(range(1, 13))


def test_many_at_once_get_a_trial_each(server):
    address, key = trial_server._serve(server, same_host=True)
    begin = threading.Barrier(6)

    def take():
        reached = trial_server._reach(address, key)
        begin.wait(10)
        return [reached.next() for _ in range(2)]

    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(take) for _ in range(6)]
        numbers = [trial.number for answer in answers for trial in answer.result(30)]
    assert sorted(numbers) == list(range(1, 13))


def test_an_error_on_the_server_keeps_its_kind_over_the_connection(server):
    reached = trial_server._reach(*trial_server._serve(server, same_host=True))
    with pytest.raises(ValueError, match="number=3 is no running trial"):
        reached.end(3, Outcome("completed"))
    assert reached.next().number == 1  # and the server goes on


def test_a_wrong_key_is_refused_and_no_one_at_the_place_is_named(server):
    address, key = trial_server._serve(server, same_host=True)
    with pytest.raises(multiprocessing.AuthenticationError):
        trial_server._reach(address, b"\0" * 32)
    assert trial_server._reach(address, key).next().number == 1
    with pytest.raises(ConnectionError, match="cannot reach rank 0.* at 127.0.0.1:1: .*refused"):
        trial_server._reach(("127.0.0.1", 1), key)


def test_between_hosts_it_tells_a_name_that_others_can_look_up(server, monkeypatch):
    monkeypatch.setattr(trial_server.socket, "gethostname", lambda: "localhost")
    address, key = trial_server._serve(server, same_host=False)
    assert address[0] == "localhost"
    assert trial_server._reach(address, key).next().number == 1


@pytest.fixture
def ranks(monkeypatch):
    """Makes threads count as the ranks of a group."""
    local = threading.local()
    monkeypatch.setattr(comm, "size", lambda: 3)
    monkeypatch.setattr(comm, "rank", lambda: local.rank)

    def run(*actions):
        def as_rank(number, action):
            local.rank = number
            return action()

        with ThreadPoolExecutor(len(actions)) as pool:
            return [
                future.result(30)
                for future in [pool.submit(as_rank, n, act) for n, act in enumerate(actions)]
            ]

    return run


def test_ranks_of_a_group_learn_each_others_words_in_order(server, ranks):
    trial = server.next()

    def exchange(word, seconds):
        time.sleep(seconds)
        return exchange_over_server(server, trial, (word, ""), 10)

    words = ranks(
        lambda: exchange("completed", 0.2),
        lambda: exchange("failed", 0),
        lambda: exchange("diverged", 0.1),
    )
    assert words == [[("completed", ""), ("failed", ""), ("diverged", "")]] * 3


def test_a_rank_that_says_nothing_is_waited_for_no_longer_than_told(server, ranks):
    trial, other = server.next(), Trial(1, {}, attempts=1)

    def exchange(*word):
        with pytest.raises(TimeoutError) as error:
            exchange_over_server(server, trial, word, 0.6)
        return str(error.value)

    def earlier_attempt():
        server.post(other, 1, ("completed", ""))
        return ""

    messages = ranks(
        lambda: exchange("completed", ""),
        earlier_attempt,
        lambda: exchange("failed", "ValueError: no"),
    )
    text = "only 2 of the 3 ranks of trial 1 have ended it (rank 0: completed; rank 2: failed ValueError: no)"
    assert messages == [text, "", text]
