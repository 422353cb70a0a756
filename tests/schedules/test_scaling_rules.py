"""Tests of the rules by which a learning rate grows with the batch size."""

from __future__ import annotations

import math

import pytest

from tflbt.schedules import linear_scaling, square_root_scaling


@pytest.mark.parametrize("growth", [1, 2, 64, 0.25])
def test_growth_by_hand(growth):
    assert linear_scaling(0.1, int(128 * growth), 128) == pytest.approx(0.1 * growth)
    assert square_root_scaling(0.1, int(128 * growth), 128) == pytest.approx(
        0.1 * math.sqrt(growth)
    )


@pytest.mark.parametrize("rule", [linear_scaling, square_root_scaling])
def test_two_steps_are_one_and_none_is_exact(rule):
    assert rule(rule(0.1, 512, 128), 8192, 512) == pytest.approx(rule(0.1, 8192, 128))
    assert rule(0.1, 128, 128) == 0.1


@pytest.mark.parametrize("rule", [linear_scaling, square_root_scaling])
@pytest.mark.parametrize("name", ["learning_rate", "batch_size", "base_batch_size"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_an_argument_out_of_range_is_named(rule, name, value):
    arguments = {"learning_rate": 0.1, "batch_size": 256, "base_batch_size": 128, name: value}
    with pytest.raises(ValueError, match=f"^{name}="):
        rule(**arguments)
