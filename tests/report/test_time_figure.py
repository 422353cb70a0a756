"""The bars of where the seconds went: by epoch, of the whole run, and of several runs."""

from __future__ import annotations

import warnings

import pytest

from tflbt.report import figure_files, figures, time_account, time_figure
from tflbt.report.figure_style import COLOURS
from tflbt.runs.history import History


def row(epoch, **parts):
    """An epoch of 10 seconds."""
    return {"epoch": epoch, "seconds": 10.0, **{f"seconds_{k}": v for k, v in parts.items()}}


FULL = [
    row(1, input=0.25, computation=5.0, communication=1.0, curvature=0.5),
    row(2, input=0.25, computation=6.0, communication=1.0, curvature=0.0),
    row(3, input=0.5, computation=7.0, communication=1.0, validation=0.5),
]


def heights(axes, part):
    """The heights and bottoms of the bars of one part."""
    (bars,) = [container for container in axes.containers if container.get_label() == part]
    return [(bar.get_y(), bar.get_height()) for bar in bars]


def test_bars_stand_on_each_other():
    left, right = time_figure.draw(History(FULL)).axes
    assert heights(left, "computation") == [(0, 5), (0, 6), (0, 7)]
    assert heights(left, "communication") == [(5, 1), (6, 1), (7, 1)]
    assert [sum(ends) for ends in heights(left, "other")] == [10, 10, 10]
    assert heights(right, "computation") == [(0, 0.6)]
    assert sum(heights(right, "other")[0]) == pytest.approx(1)


def test_colours_are_those_of_the_page_and_each_part_has_its_own():
    roles = list(time_figure._ROLES.values())
    assert list(time_figure._ROLES) == [*time_account.PARTS, "other"]
    assert len(set(roles)) == len(roles) and set(roles) <= set(COLOURS)


def test_a_long_run_is_drawn_in_groups_at_their_means():
    rows = [row(n, computation=float(n % 3)) for n in range(1, 152)]
    (bars, _) = time_figure.draw(History(rows)).axes
    drawn = heights(bars, "computation")
    assert len(drawn) == 51 and "means of 3" in bars.get_ylabel()
    assert all(height == pytest.approx(1) for _, height in drawn[:-1])
    last = bars.containers[0][-1]  # epoch 151 alone
    assert last.get_height() == 1 and 150 < last.get_x() < last.get_x() + last.get_width() < 151


def test_runs_without_an_account_get_no_figure():
    for columns in ({}, {"validation": 1.0}, {"curvature": 1.0}):
        assert "time_account" not in figures.draw(History([row(1, **columns)]))
    assert list(figures.draw(History(FULL))) == ["time_account"]


def test_runs_side_by_side(tmp_path):
    slow = [{**epoch, "seconds": 3600.0} for epoch in FULL]
    runs = {"bl": History(slow), "absa": History([*FULL, row(4)]), "other seed": History(FULL)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = time_figure.compare(runs)
        figure_files.save_all({"times": figure}, tmp_path)
    (axes,) = figure.axes
    assert axes.get_ylabel() == "hours of the whole run"
    assert [label.get_text() for label in axes.get_xticklabels()] == list(runs)
    assert [text.get_text() for text in axes.texts] == [
        "3 h 0 min",
        "40 s\n270.00x",
        "30 s\n360.00x",
    ]
    assert sum(heights(axes, "other")[0]) == pytest.approx(3)
    assert {path.name for path in tmp_path.iterdir()} == {"times.png", "times.svg"}


def test_runs_without_times_cannot_be_compared():
    with pytest.raises(ValueError, match=r"gg.* no times"):
        time_figure.compare({"bl": History(FULL), "gg": History([{"epoch": 1}])})
    with pytest.raises(ValueError, match="runs="):
        time_figure.compare({})
