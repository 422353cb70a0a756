"""Tests of the rules by which a learning rate, or a number of epochs, grows with the batch size."""

from __future__ import annotations

import math

import pytest

from tflbt.schedules import linear_scaling, regime_adaptation, square_root_scaling


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


@pytest.mark.parametrize("batch_size", [64, 128, 640, 8192, 32])
def test_the_adapted_regime_makes_as_many_updates(batch_size):
    samples = 2**20
    epochs = regime_adaptation(200, batch_size, 64)
    assert isinstance(epochs, int)
    assert epochs * (samples / batch_size) == 200 * samples / 64


def test_milestones_are_stretched_like_the_epochs():
    assert regime_adaptation([81, 122, 164], 640, 64) == (810, 1220, 1640)
    assert regime_adaptation((), 640, 64) == ()


def test_epochs_are_rounded_to_whole_ones_and_never_none():
    assert regime_adaptation(10, 100, 64) == 16  # 15.625
    assert regime_adaptation((10, 20), 96, 64) == (15, 30)
    assert regime_adaptation(3, 1, 64) == 1


@pytest.mark.parametrize("value", [0, -1, 1.5, math.nan])
def test_epochs_that_cannot_be_are_named(value):
    for epochs in (value, (1, value)):
        with pytest.raises(ValueError, match="^epochs="):
            regime_adaptation(epochs, 128, 64)


@pytest.mark.parametrize("sizes", [(0, 64), (math.nan, 64)])
def test_sizes_that_cannot_be_are_named(sizes):
    with pytest.raises(ValueError, match="^batch_size="):
        regime_adaptation(10, *sizes)
    with pytest.raises(ValueError, match="^base_batch_size="):
        regime_adaptation(10, *sizes[::-1])
