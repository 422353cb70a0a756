"""Two processes never write into one directory; a kill frees it."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import rank_environment
from tflbt.runs.directory_lock import hold
from tflbt.runs.run_directory import RunDirectory
from tflbt.tuning.search_directory import SearchDirectory

HOLDER = Path(__file__).with_name("holder.py")


@pytest.fixture
def holder():
    """Starts a process that holds a directory's lock until it is killed."""
    started = []

    def start(directory):
        process = subprocess.Popen(
            [sys.executable, str(HOLDER), str(directory)],
            env=rank_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_runs_and_searches_of_another_process_are_left_alone_until_it_is_killed(tmp_path, holder):
    run = RunDirectory.create(tmp_path / "run", {"epochs": 3}).path
    search = SearchDirectory.create(tmp_path / "search", {"objective": "loss"}).path
    (tmp_path / "new").mkdir()
    processes = [holder(path) for path in (run, search, tmp_path / "new")]
    for taking, path in (
        (RunDirectory.open, run),
        (SearchDirectory.open, search),
        (lambda path: RunDirectory.create(path, {"epochs": 3}), tmp_path / "new"),
        (lambda path: SearchDirectory.create(path, {}), tmp_path / "new"),
    ):
        with pytest.raises(BlockingIOError, match=rf"process \d+ on .* is writing here.*{path}"):
            taking(path)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [".lock"]
    for process in processes:
        process.kill()
        process.wait()
    RunDirectory.open(run)
    SearchDirectory.open(search)
    RunDirectory.create(tmp_path / "new", {"epochs": 3})


def test_the_lock_lives_as_long_as_what_holds_it(tmp_path, holder):
    run = RunDirectory.create(tmp_path, {"epochs": 3})
    again = RunDirectory.open(tmp_path)  # this process may
    assert hold(tmp_path) is run._lock is again._lock
    assert pickle.loads(pickle.dumps(run))._lock is None  # on another rank
    del run, again
    holder(tmp_path)


def test_a_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch, caplog):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    hold(tmp_path)
    assert "no lock here" in caplog.text
