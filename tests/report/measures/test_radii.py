"""The bars of the radii of curvature: a bar a variable, of the last epoch that has them."""

from __future__ import annotations

import math

from tflbt.report import captions, figures
from tflbt.report.measures import radii
from tflbt.runs.history import History
from tflbt.runs.metrics import columns_in_order, is_logged_metric


def rows(*values, names=("a/kernel", "a/bias", "b/kernel")):
    return [
        {"epoch": n, **{f"radius/{name}": v for name, v in zip(names, row)}}
        for n, row in enumerate(values, 1)
    ]


def test_a_bar_a_variable_and_those_of_biases_ten_times_as_large():
    history = History(rows((9, 9, 9), (2.0, 0.5, math.inf), (None, None, None)))
    (axes,) = figures.draw(history)["radii"].axes
    heights = [bar.get_height() for bar in axes.patches]
    assert heights[:2] == [2.0, 5.0] and math.isnan(heights[2])
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["a/kernel", "a/bias", "b/kernel"]
    assert "radii" in captions.WHOLE and captions.title("radii", history) == radii.TITLE
    assert "10 times" in captions.caption("radii", history)


def test_large_networks_and_runs_without_radii(tmp_path):
    many = rows([1.0] * 50, names=[f"layer_{n}/kernel" for n in range(50)])
    assert len(radii.draw(History(many)).axes[0].patches) == 50
    assert radii.draw(History(rows((math.nan, 0.0, math.inf)))) is None
    assert radii.draw(History([{"epoch": 1, "loss": 1.0}])) is None


def test_its_columns_are_no_metrics_and_come_last():
    names = ["radius/a/kernel", "seconds_input", "loss", "path_length"]
    assert columns_in_order(names) == ["loss", "path_length", "seconds_input", "radius/a/kernel"]
    assert not is_logged_metric("radius/a/kernel")
