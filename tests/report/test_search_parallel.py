"""Parallel coordinates: one line per trial through its values to its objective."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tflbt.report import (
    search_parallel,
)
from tflbt.report.search_history import HyperParameter

RATE, BETA, WARMUP = "optimizer.learning_rate", "schedule.beta", "warmup.epochs"
NAN = math.nan


def test_a_line_a_trial_and_the_best_on_top(search):
    rows = [
        ("completed", 0.6, {RATE: 0.01, "optimizer.name": "SGD", "batch_size": 100}),
        ("completed", 0.8, {RATE: 1.0, "optimizer.name": "LARS", "batch_size": 300}),
        ("completed", 0.7, {RATE: 0.1, "optimizer.name": "LARS", "batch_size": 150}),
        ("diverged", 0.9, {RATE: 0.1, "optimizer.name": "SGD", "batch_size": 200}),
        ("running", 0.9, {RATE: 0.1, "optimizer.name": "SGD", "batch_size": 200}),
    ]
    (axes,) = search_parallel.draw(search(rows)).axes
    lines = {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    assert list(lines) == ["trial 1", "trial 3", "trial 4", "trial 2"]
    assert all(list(line.get_xdata()) == [0, 1, 2, 3] for line in lines.values())
    np.testing.assert_allclose(lines["trial 1"].get_ydata(), [0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(lines["trial 2"].get_ydata(), [1, 1, 1, 1])
    np.testing.assert_allclose(lines["trial 3"].get_ydata(), [0.5, 1, 0.25, 0.5])
    broken = lines["trial 4"].get_ydata()
    np.testing.assert_allclose(broken[:3], [0.5, 0, 0.5])
    assert broken[3] < 0 and lines["trial 4"].get_linestyle() == "--"
    widths = {name: line.get_linewidth() for name, line in lines.items()}
    assert max(widths, key=widths.get) == "trial 2"
    texts = [text.get_text() for text in axes.texts]
    assert {"SGD", "LARS", "80.00%", "70.00%", "60.00%", "diverged or failed"} <= set(texts)
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "optimizer.\nlearning_rate",
        "optimizer.\nname",
        "batch_size",
        "val accuracy",
    ]


def test_a_value_that_is_absent_leaves_a_gap(search):
    rows = [("completed", 0.6, {RATE: 1}), ("completed", 0.8, {RATE: 2, "momentum": 0.9})]
    (axes,) = search_parallel.draw(search(rows)).axes
    (line,) = [line for line in axes.lines if line.get_label() == "trial 1"]
    np.testing.assert_allclose(line.get_ydata(), [0, NAN, 0])


def test_an_objective_beyond_the_shades_stands_at_the_end_which_says_so(search):
    rows = [("completed", v, {RATE: n}) for n, v in enumerate([0.90, 0.91, 0.92, 0.93, 0.1])]
    (axes,) = search_parallel.draw(search(rows)).axes
    (line,) = [line for line in axes.lines if line.get_label() == "trial 5"]
    assert list(line.get_ydata()) == [1, 0]
    assert "≤ 85.00%" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([64, 128, 256], {0: "64", 1 / 3: "128", 1: "256"}),
        ([64, 16384], {0: "64", 1: "16384"}),
        ([0.5, 0.5], {0.5: "0.5"}),
        ([0.0, 0.01, 0.02, 1.0], {0: "0", 0.5: "0.5", 1: "1"}),
        ([True, False, None], {0: "False", 1: "True"}),
        (["b", "a"], {0: "b", 1: "a"}),
    ],
)
def test_labels_of_an_axis(values, labels):
    found = search_parallel.scale(HyperParameter("any"), values).labels
    assert list(found.values()) == list(labels.values())
    assert list(found) == pytest.approx(list(labels))


def test_choices_keep_the_order_of_the_space():
    parameter = HyperParameter("name", "Choice", choices=("a", "b", "c"))
    assert search_parallel.scale(parameter, ["c", "a"]).labels == {0.0: "a", 1.0: "c"}
