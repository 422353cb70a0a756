"""A batch that grows: one figure of everything the schedule set and measured, with marks where it grew."""

from __future__ import annotations

import pytest

from tflbt.report import captions, figures
from tflbt.report.figure_style import COLOURS
from tflbt.runs.history import History


def absa(epochs=12, **columns):
    """The batch grows by 5 after epochs 3 and 7, the learning rate with it; it is decayed after epoch 10."""
    rows = []
    for n in range(1, epochs + 1):
        growths = (n > 3) + (n > 7)
        rows.append(
            {
                "epoch": n,
                "learning_rate": 0.1 * 5**growths * (0.2 if n > 10 else 1),
                "batch_size": 128 * 5**growths,
                "eigenvalue": 40.0 / n if n < 9 else None,
                "growths": growths,
                "adversarial_ratio": 0.2 / 2**growths if n < 7 else 0.0,
                **columns,
            }
        )
    return rows


def marks(axes, role):
    """Where vertical lines of a colour stand."""
    return [
        line.get_xdata()[0]
        for line in axes.lines
        if line.get_color() == COLOURS[role] and len(set(line.get_xdata())) == 1
    ]


def labels(rows):
    return [axes.get_ylabel() for axes in figures.draw(History(rows))["batch_size"].axes]


def test_a_panel_each_and_a_mark_where_the_batch_grew():
    drawn = figures.draw(History(absa()))
    assert list(drawn) == ["batch_size"]
    panels = drawn["batch_size"].axes
    assert [axes.get_ylabel() for axes in panels] == [
        "batch size",
        "learning rate (log scale)",
        "largest eigenvalue",
        "adversarial share",
    ]
    for axes in panels:
        assert marks(axes, "train") == [3, 7]
    assert marks(panels[1], "muted") == [10]
    assert list(panels[0].get_yticks()) == [128, 640, 3200]
    assert [axes.get_xlabel() for axes in panels] == ["", "", "", "epoch"]


def test_an_epoch_has_its_batch_from_its_beginning_to_its_end():
    line = figures.draw(History(absa()))["batch_size"].axes[0].lines[0]
    assert line.get_drawstyle() == "steps-pre"
    at = dict(zip(line.get_xdata(), line.get_ydata()))
    assert (at[0], at[3], at[4], at[12]) == (128, 128, 640, 3200)


def test_panels_appear_only_where_there_is_something_to_show():
    assert labels(absa(eigenvalue=None, adversarial_ratio=0.0)) == [
        "batch size",
        "learning rate (log scale)",
    ]
    rows = [{"epoch": n, "batch_size": 128 * n} for n in (1, 2)]
    assert labels(rows) == ["batch size"]


def test_a_batch_that_stays_has_figures_of_their_own():
    rows = absa(3)
    assert list(figures.draw(History(rows))) == ["learning_rate", "eigenvalue", "adversarial_ratio"]
    for name, figure in figures.draw(History(rows)).items():
        assert marks(figure.axes[0], "train") == []
        assert name in captions.WHOLE and captions.caption(name, History(rows)).endswith(".")


def test_ranks_that_come_and_go_are_steps():
    """Below the batch they follow; by themselves where that stays; not at all where they stay."""
    rows = [{**row, "ranks": 1 + 2 * (row["epoch"] > 3)} for row in absa()]
    panels = figures.draw(History(rows))["batch_size"].axes
    assert [axes.get_ylabel() for axes in panels][:3] == [
        "batch size",
        "ranks",
        "learning rate (log scale)",
    ]
    line = panels[1].lines[0]
    at = dict(zip(line.get_xdata(), line.get_ydata()))
    assert line.get_drawstyle() == "steps-pre" and (at[0], at[3], at[4], at[12]) == (1, 1, 3, 3)
    assert all(tick == int(tick) for tick in panels[1].get_yticks())
    words = "below, the number of ranks, the learning rate,"
    assert words in captions.caption("batch_size", History(rows))
    died = [{"epoch": n, "batch_size": 64, "ranks": [None, 2, 1][n - 1]} for n in (1, 2, 3)]
    assert list(figures.draw(History(died))) == ["ranks"] and "ranks" in captions.WHOLE
    assert captions.title("ranks", History(died)) == "Ranks"
    assert figures.draw(History(died[:2])) == {}


def test_many_sizes_are_labelled_by_powers_of_two():
    rows = [{"epoch": n, "batch_size": 1000 + 100 * n} for n in range(1, 20)]
    assert len(figures.draw(History(rows))["batch_size"].axes[0].get_yticks()) < 10


def test_any_part_of_the_run_is_drawn(tmp_path):
    for part in (slice(1), slice(3, 4), slice(2, 5), slice(0, 12)):
        assert figures.write(History(absa()[part]), tmp_path)


def test_the_caption_names_the_panels():
    text = captions.caption("batch_size", History(absa(adversarial_ratio=None)))
    assert "below, the learning rate and the Hessian eigenvalue that was measured." in text
    assert captions.title("batch_size", History(absa())) == "Batch size and learning rate"


@pytest.mark.parametrize("fall", [1.0, 0.2])
def test_growth_in_place_of_a_decay_is_no_decay(fall):
    """GG counts both as `decays`: where the batch cannot grow by all of the factor the rate falls too."""
    rows = [
        {"epoch": 1, "learning_rate": 0.1, "batch_size": 128, "decays": 0},
        {"epoch": 2, "learning_rate": 0.1 * fall, "batch_size": 640, "decays": 1},
        {"epoch": 3, "learning_rate": 0.1 * fall, "batch_size": 640, "decays": 1},
        {"epoch": 4, "learning_rate": 0.02 * fall, "batch_size": 640, "decays": 2},
    ]
    history = History(rows)
    assert history.growth_epochs == [1]
    assert history.decay_epochs == ([3] if fall == 1 else [1, 3])
