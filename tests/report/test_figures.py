"""The figures draw any run, and mark what the schedule did."""

from __future__ import annotations

import math
import warnings

import matplotlib
import pytest

from tflbt.report import figures
from tflbt.report.figure_style import COLOURS
from tflbt.runs.history import History


def at(axes, colour):
    """The places of the vertical lines of one colour."""
    return [
        line.get_xdata()[0]
        for line in axes.lines
        if line.get_color() == COLOURS[colour] and len(set(line.get_xdata())) == 1
    ]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_phase_switch_and_every_decay_are_marked(two_phase_rows):
    drawn = figures.draw(History(two_phase_rows))
    assert list(drawn) == ["loss", "accuracy", "learning_rate", "eigenvalue"]
    for name in ("learning_rate", "eigenvalue"):
        axes = drawn[name].axes[0]
        assert at(axes, "ink") == [30]
        assert at(axes, "muted") == [40, 50, 60]
        assert {"exploration", "decay 1", "2", "3"} <= set(texts(axes))
        assert "convergence (phase switch after epoch 30)" in texts(axes)
    assert drawn["learning_rate"].axes[0].get_yscale() == "log"


def test_a_late_switch_is_labelled_too(two_phase_rows):
    axes = figures.draw(History(two_phase_rows[:31]))["learning_rate"].axes[0]
    label = next(text for text in axes.texts if "phase switch after epoch 30" in text.get_text())
    assert label.get_horizontalalignment() == "right"


def test_lines_are_named_at_their_ends(two_phase_rows):
    drawn = figures.draw(History(two_phase_rows))
    assert {"train", "validation"} <= set(texts(drawn["loss"].axes[0]))


def test_axes_say_what_they_show(two_phase_rows):
    for figure in figures.draw(History(two_phase_rows)).values():
        assert figure.axes[0].get_xlabel() == "epoch"
        assert figure.axes[0].get_ylabel()


@pytest.mark.parametrize(
    "rows",
    [
        [{"epoch": 1, "loss": 0.5}],
        [{"epoch": 1, "loss": math.nan}],
        [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": math.inf}, {"epoch": 3, "loss": None}],
        [{"epoch": 1, "loss": -0.5, "learning_rate": 0.0}],
        [{"epoch": 7, "loss": 0.5, "phase": "exploration", "learning_rate": 0.1}],
        [{"epoch": 1, "accuracy": 1.0, "val_accuracy": 1.0}],
        [{"loss": 0.5}],
        [{"epoch": n, "accuracy": 1.0, "eigenvalue": -1.0, "decays": n} for n in range(1, 90)],
    ],
)
def test_any_run_is_drawn_without_a_warning(rows, tmp_path):
    draw_all(rows, tmp_path)


@pytest.mark.parametrize("part", [slice(1), slice(30), slice(30, 31), slice(20, 60), slice(0, 60)])
def test_any_part_of_a_two_phase_run_is_drawn(two_phase_rows, part, tmp_path):
    draw_all(two_phase_rows[part], tmp_path)


def draw_all(rows, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = figures.write(History(rows), tmp_path)
    assert names
    for name in names:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000


def test_a_lost_loss_is_said():
    rows = [{"epoch": n, "loss": 1.0 if n < 3 else math.nan} for n in range(1, 6)]
    assert "not finite from epoch 3" in texts(figures.draw(History(rows))["loss"].axes[0])


def test_batch_size_is_drawn_only_if_it_changes():
    rows = [{"epoch": n, "batch_size": 128 * n} for n in (1, 2, 4)]
    assert list(figures.draw(History(rows))) == ["batch_size"]
    assert figures.draw(History(rows[:1])) == {}


def test_no_rows_no_figures():
    assert figures.draw(History([])) == {}


def test_the_settings_of_others_are_left_alone(two_phase_rows, tmp_path):
    before = dict(matplotlib.rcParams)
    figures.write(History(two_phase_rows), tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_the_same_rows_give_the_same_files(two_phase_rows, tmp_path):
    for folder in ("a", "b"):
        figures.write(History(two_phase_rows), tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
