"""Bars of final values."""

from __future__ import annotations

import math

from tflbt.report.several import ladder
from tflbt.report.several.groups import by_seed


def test_a_bar_per_variant_with_its_value(make_run):
    runs = [make_run("r:0", 64, 0.5), make_run("r:1", 64, 0.9), make_run("r:1", 64, 0.8, 1)]
    runs.append(make_run("r:2", 64, math.nan))
    (axes,) = ladder.draw(by_seed(runs), "val_accuracy", 0.95).axes
    bars = [patch for patch in axes.patches if round(patch.get_width(), 2) == 0.62]
    assert [round(bar.get_height(), 3) for bar in bars] == [0.5, 0.85, 0.0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["50.00%", "85.00%\n± 7.07%", "diverged"]
    assert axes.get_ylim()[0] == 0
    assert [text.get_text() for text in axes.get_legend().texts] == ["99.5% of the baseline"]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["r:\n0", "r:\n1\n(2 seeds)", "r:\n2"]
