"""What a process of a job whose ranks come and go reads of its launcher; the rest is in tests/elastic."""

from __future__ import annotations

import io
import os
import sys

import pytest

from tflbt.distributed import elastic_worker


def test_a_process_waits_for_its_place_or_ends(monkeypatch, capsys):
    assert not elastic_worker.is_standby() and not elastic_worker.must_resume()
    assert elastic_worker.max_ranks() == 1
    monkeypatch.setenv(elastic_worker.STANDBY_VARIABLE, "1")
    monkeypatch.setenv("HOROVOD_RANK", "7")
    assert not elastic_worker.is_standby()  # it has a place
    monkeypatch.delenv("HOROVOD_RANK")
    assert elastic_worker.is_standby()
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"HOROVOD_RANK": "3"}\n'))
    elastic_worker.wait_for_place()
    assert capsys.readouterr().out.strip() == elastic_worker.READY
    assert os.environ["HOROVOD_RANK"] == "3" and not elastic_worker.is_standby()
    monkeypatch.delenv("HOROVOD_RANK")
    with pytest.raises(SystemExit):
        elastic_worker.wait_for_place()  # its launcher has ended
