"""Phases, decays and growths are marked where they happened."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from tflbt.report import phase_marks
from tflbt.runs.history import History


@pytest.fixture
def axes():
    axes = Figure().add_subplot()
    axes.set_xlim(0, 100)
    return axes


def verticals(axes):
    return [line.get_xdata()[0] for line in axes.lines]


def test_phases_are_shaded_up_to_and_from_the_switch(axes):
    phases = ["exploration"] * 59 + ["convergence"] * 41
    rows = [{"epoch": n, "phase": phase} for n, phase in enumerate(phases, start=1)]
    phase_marks.shade(axes, History(rows), named=True)
    assert len(axes.patches) == 2 and verticals(axes) == [60]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["exploration", "convergence (phase switch after epoch 60)"]


def test_a_run_without_phases_is_not_shaded(axes):
    phase_marks.shade(axes, History([{"epoch": 1}]), named=True)
    assert not axes.patches and not axes.texts


def test_every_decay_has_a_line_and_the_first_of_close_ones_a_number(axes):
    rows = [{"epoch": n, "decays": {10: 1, 11: 2}.get(n, 0 if n < 10 else 3)} for n in range(1, 91)]
    rows[89]["decays"] = 4
    phase_marks.mark_decays(axes, History(rows))
    assert verticals(axes) == [10, 11, 12, 90]
    assert [text.get_text() for text in axes.texts] == ["decay 1", "4"]


def test_growth_is_dotted(axes):
    phase_marks.mark_growth(axes, History([{"epoch": n, "batch_size": 8 * n} for n in (1, 2, 3)]))
    assert verticals(axes) == [1, 2]
