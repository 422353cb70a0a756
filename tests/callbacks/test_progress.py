"""Progress is a bar on a terminal, a rare line in a file."""

from __future__ import annotations

import io

import pytest

from tflbt.callbacks import progress as module
from tflbt.callbacks.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_that_is_wiped_away(monkeypatch):
    monkeypatch.setattr(module, "_REDRAW_SECONDS", 0.0)
    text = Terminal()
    progress = Progress(text)
    progress.start("epoch 3/60", 10)
    progress.update(5, {"loss": 0.25})
    shown = text.getvalue()
    assert shown.startswith("\repoch 3/60") and "\n" not in shown
    assert " 50%" in shown and "loss 0.2500" in shown
    progress.clear()
    last = text.getvalue()[len(shown) :]
    assert last.strip() == "" and last.startswith("\r") and last.endswith("\r")
    assert len(last) - 2 >= len(shown) - 1


def test_a_file_gets_nothing_from_a_short_epoch_and_lines_from_a_long_one(monkeypatch):
    text = io.StringIO()
    progress = Progress(text)
    progress.start("epoch 1/2", 4)
    for step in range(1, 5):
        progress.update(step)
    progress.clear()
    assert text.getvalue() == ""
    monkeypatch.setattr(module, "_LINE_SECONDS", 0.0)
    progress.update(1)
    assert text.getvalue().startswith("epoch 1/2  [======")
    assert text.getvalue().endswith("\n")


def test_updates_of_a_moment_ago_are_not_drawn_again():
    text = Terminal()
    progress = Progress(text)
    progress.start("epoch 1/1", 1000)
    for step in range(1, 1000):
        progress.update(step)
    assert text.getvalue().count("\r") < 10


@pytest.mark.parametrize("steps", [None, 0])
def test_an_unknown_number_of_steps(monkeypatch, steps):
    monkeypatch.setattr(module, "_REDRAW_SECONDS", 0.0)
    text = Terminal()
    progress = Progress(text)
    progress.start("epoch 1/1", steps)
    progress.update(7)
    assert "7 steps" in text.getvalue()
