"""The journal of a search keeps every event but the one that a kill cut short."""

from __future__ import annotations

import errno
import math
import os

import pytest

from tflbt.runs.journal import Journal

BEGIN = {"event": "begin", "trial": 1, "epochs": 0}
END = {"event": "end", "trial": 1, "history": [0.5, 0.1 + 0.2], "message": 'a "b",\n\u2028ä'}


def test_events_come_back_as_they_were_in_their_order(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    assert journal.events() == [] and not journal.path.exists()
    journal.append(BEGIN)
    journal.append(END)
    assert Journal(str(journal.path)).events() == [BEGIN, END]
    assert len(journal.path.read_text().splitlines()) == 2


def test_an_objective_that_is_no_number_goes_through(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({**END, "history": [0.5, math.nan, math.inf, -math.inf]})
    first, nan, *infinite = journal.events()[0]["history"]
    assert first == 0.5 and math.isnan(nan) and infinite == [math.inf, -math.inf]


def test_a_line_cut_anywhere_is_cut_off_and_the_next_starts_clean(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(BEGIN)
    first = journal.path.read_bytes()
    journal.append(END)
    whole = journal.path.read_bytes()
    for length in range(len(first), len(whole)):
        journal.path.write_bytes(whole[:length])
        assert journal.events() == [BEGIN]
        assert journal.path.read_bytes() == first
        journal.append(END)
        assert journal.path.read_bytes() == whole
    for length in range(len(first)):
        journal.path.write_bytes(whole[:length])
        assert journal.events() == [] and journal.path.read_bytes() == b""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"event": "beg\n', r"journal.jsonl, line 2, is damaged: '{\"event\": \"beg'"),
        (b"\xff\x00\x0b\x85\r\xe2\x80\xa8\n", "journal.jsonl, line 2, is damaged"),
        (b"\n", "journal.jsonl, line 2, is damaged: ''"),
        (b"[1]\n", r"journal.jsonl, line 2, is not an event: '\[1\]'"),
        (b'{"trial": 1}\n', "journal.jsonl, line 2, is not an event"),
    ],
)
def test_a_damaged_line_is_named_and_left(tmp_path, line, message):
    path = tmp_path / "journal.jsonl"
    Journal(path).append(BEGIN)
    path.write_bytes(path.read_bytes() + line)
    Journal(path).append(END)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        Journal(path).events()
    assert path.read_bytes() == before
    path.write_bytes(before.replace(b"begin", b"begi\xff"[:4] + b"n\n", 1))
    with pytest.raises(ValueError, match="line 1, is damaged"):
        Journal(path).events()


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(BEGIN)

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="cannot write: No space left.*journal.jsonl") as error:
            journal.append(END)
    assert error.value.errno == errno.ENOSPC
    assert journal.events() == [BEGIN]
    journal.append(END)
    assert journal.events() == [BEGIN, END]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="cannot write.*nowhere/journal.jsonl"):
        Journal(tmp_path / "nowhere" / "journal.jsonl").append(BEGIN)
