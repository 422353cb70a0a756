"""The stability figure: eigenvalues and limits where they were measured, and nothing else in their place."""

from __future__ import annotations

import math
import warnings

import pytest

from tflbt.report import captions, figures, stability_figure, tiles, time_account
from tflbt.runs.history import History
from tflbt.runs.metrics import columns_in_order

COLUMNS = (
    "stability_eigenvalue",
    "stability_mean",
    "stability_limit",
    "stability_limit_momentum",
)


def measured(every=2, **changed):
    """Nine epochs, of which every second was measured; eigenvalues rise to the limit."""
    values = [dict(zip(COLUMNS, (4.0 * n, 3.0 * n, 20.0, 38.0))) for n in range(1, 10)]
    empty = dict.fromkeys(COLUMNS)
    return [
        {"epoch": n, "loss": 1 / n, **({**row, **changed} if n % every == 0 else empty)}
        for n, row in enumerate(values, start=1)
    ]


def test_what_is_drawn_is_what_was_measured():
    axes = stability_figure.draw(History(measured())).axes[0]
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert drawn == [
        ([2, 4, 6, 8], [8.0, 16.0, 24.0, 32.0]),
        ([2, 4, 6, 8], [6.0, 12.0, 18.0, 24.0]),
        ([2, 4, 6, 8], [20.0] * 4),
        ([2, 4, 6, 8], [38.0] * 4),
    ]
    assert axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    assert low < 6 and high > 38


def test_it_is_one_of_the_figures_with_title_and_caption():
    history = History(measured())
    assert "stability" in figures.draw(history)
    assert "stability" in captions.WHOLE
    assert captions.title("stability", history) == "Stability of SGD"
    assert "with the optimizer's momentum" in captions.caption("stability", history)
    plain = captions.caption("stability", History(measured(stability_limit_momentum=None)))
    assert "momentum" not in plain and plain.endswith("2 / learning rate.")


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -3.0, None])
def test_a_value_that_a_log_axis_cannot_show_is_left_out(value, tmp_path):
    rows = measured()
    rows[3].update(stability_eigenvalue=value, stability_limit=value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "stability" in figures.write(History(rows), tmp_path)
    lines = stability_figure.draw(History(rows)).axes[0].lines
    assert [list(line.get_xdata()) for line in lines] == [[2, 6, 8], [2, 4, 6, 8]] * 2


def test_there_is_none_without_an_eigenvalue():
    assert stability_figure.draw(History([{"epoch": 1, "loss": 1.0}])) is None
    assert stability_figure.draw(History(measured(stability_eigenvalue=-1.0))) is None


def test_the_columns_are_no_metrics_and_have_their_place():
    assert History(measured()).metric is None
    mixed = ["decays", *sorted(COLUMNS, reverse=True), "curvature_products", "loss"]
    assert columns_in_order(mixed) == ["loss", "curvature_products", *COLUMNS, "decays"]


def test_the_time_it_takes_is_time_on_curvature():
    rows = [{"epoch": 1, "seconds": 10.0, "seconds_curvature": 1.0, "seconds_stability": 2.0}]
    assert time_account.totals(History(rows)) == {"curvature": 3.0, "other": 7.0}
    (time,) = [tile for tile in tiles.tiles(History(rows), {}, {}) if tile.name == "Time"]
    assert time.note.endswith("30.0% on curvature")
