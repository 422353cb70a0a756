"""Vertical axes: percent, logarithms with plain numbers, and the sizes of batches."""

from __future__ import annotations

import math

import pytest
from matplotlib.figure import Figure

from tflbt.report import axis_scale


@pytest.fixture
def axes():
    return Figure().add_subplot(ylabel="loss")


def label(axes, value):
    return axes.yaxis.get_major_formatter()(value, 0)


def test_shares_are_percent_and_only_a_long_run_leaves_out_its_steep_start(axes):
    before = axes.get_ylim()
    axis_scale.percent(axes, [0.1, 0.5, 0.98765])
    assert label(axes, 0.5) == "50%" and label(axes, 0.98765) == "98.765%"
    assert axes.get_ylim() == before
    axis_scale.percent(axes, [0.1, 0.2, *[0.9 + n / 1000 for n in range(60)], math.nan])
    low, high = axes.get_ylim()
    assert 0.2 < low < 0.9 and 0.959 < high < 1


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0.001, 1.0, math.nan], "log"),
        ([0.1, 1.0], "linear"),
        ([0.0, 1.0], "linear"),
        ([math.nan], "linear"),
    ],
)
def test_a_wide_span_of_positive_values_is_logarithmic_and_says_so(axes, values, scale):
    axis_scale.log_if_wide(axes, values)
    assert axes.get_yscale() == scale
    assert axes.get_ylabel() == ("loss (log scale)" if scale == "log" else "loss")


def test_a_logarithmic_axis_has_plain_numbers_and_room(axes):
    axis_scale.log(axes, [0.1, 0.5, math.inf])
    assert label(axes, 0.2) == "0.2"
    assert axes.get_ylim() == pytest.approx((0.1 / 1.4, 0.5 * 1.4))
    axis_scale.log(axes, [2.0])  # a single value
    assert axes.get_ylim()[0] < 2 < axes.get_ylim()[1]


def test_batch_sizes_are_labelled_where_they_do_not_touch(axes):
    axis_scale.sizes(axes, [128, 640, 3200, math.nan])
    assert [int(tick) for tick in axes.get_yticks()] == [128, 640, 3200]
    assert label(axes, 3200) == "3,200"
    crowded = Figure().add_subplot()
    axis_scale.sizes(crowded, [128, 130])
    assert list(crowded.get_yticks()) != [128, 130]
