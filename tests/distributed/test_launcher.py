"""Tests of what a launcher's environment variables say, without TensorFlow or Horovod."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import rank_environment
from tflbt.distributed import launcher


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in launcher.LAUNCHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_without_a_launcher_there_is_one_process():
    assert not launcher.launched()
    assert launcher.rank_by_launcher() == 0


@pytest.mark.parametrize("name", launcher.LAUNCHER_VARIABLES)
def test_each_launcher_is_recognised(name, monkeypatch):
    monkeypatch.setenv(name, "3")
    assert launcher.launched()
    assert launcher.rank_by_launcher() == 3


def test_horovods_own_number_counts_where_there_are_two(monkeypatch):
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("HOROVOD_RANK", "2")
    assert launcher.rank_by_launcher() == 2


def test_only_mpis_ranks_have_a_process_of_mpis_above_them(monkeypatch):
    assert launcher.mpi_launcher() is None
    monkeypatch.setenv(
        "OMPI_COMM_WORLD_RANK", "0"
    )  # left over from a job: nothing of MPI's is above this process
    assert launcher.mpi_launcher() is None
    monkeypatch.setattr(launcher, "MPI_LAUNCHERS", (psutil.Process().parent().name(),))
    assert launcher.mpi_launcher() == psutil.Process().parent()
    monkeypatch.setenv("HOROVOD_GLOO_RENDEZVOUS_ADDR", "127.0.0.1")
    assert launcher.mpi_launcher() is None


def test_ranks_end_with_an_mpirun_that_is_killed_also_below_a_shell(tmp_path):
    """They would sleep for ten minutes."""
    program = f"{sys.executable} {Path(__file__).with_name('orphan.py')} {tmp_path}"
    words = f"-np 1 {program} : -np 1".split()
    job = subprocess.Popen(
        ["mpirun", "--oversubscribe", *words, "bash", "-c", f"{program}; true"], env=rank_environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    noted = [tmp_path / "0", tmp_path / "1"]
    until = time.monotonic() + 60
    while not all(path.exists() for path in noted) and time.monotonic() < until:
        time.sleep(0.01)
    ranks = [psutil.Process(int(path.read_text())) for path in noted]
    assert ranks[0].parent().pid == job.pid != ranks[1].parent().pid
    assert job.wait(60) == -9
    until = time.monotonic() + 60
    while not all(map(launcher.has_ended, ranks)) and time.monotonic() < until:
        time.sleep(0.01)
    assert all(map(launcher.has_ended, ranks))
    assert not launcher.has_ended(psutil.Process(os.getpid()))
