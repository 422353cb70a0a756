"""Tests of what a launcher's environment variables say, without TensorFlow or Horovod."""

from __future__ import annotations

import pytest

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
