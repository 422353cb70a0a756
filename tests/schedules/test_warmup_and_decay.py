"""Every warm-up with every decay: one curve without a jump, at the peak where the warm-up ends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tflbt import schedules

W = 3.0  # epochs of warm-up
END = 12.0
WARMUPS = [
    schedules.LinearWarmup(W),
    schedules.LinearWarmup(W, 0.1),
    schedules.CosineWarmup(W),
    schedules.CosineWarmup(W, 0.1),
]


def decays(begin):
    """Every decay without steps of its own, with the most that it changes in an epoch."""
    span = END - begin
    return [
        (schedules.PolynomialDecay(END, 1, begin=begin), 1 / span),
        (schedules.PolynomialDecay(END, 2, 0.01, begin), 2 / span),
        (schedules.PolynomialDecay(END, 4, begin=begin), 4 / span),
        (schedules.CosineDecay(END, begin=begin), np.pi / 2 / span),
        (schedules.CosineDecay(END, 0.1, begin), np.pi / 2 / span),
        (schedules.Cyclical(4, begin=begin), 2 / 4),
        (schedules.Cyclical(3, 0.2, "cosine", begin), np.pi / 3),
    ]


BEGINS = (0.0, W / 2, W, W + 1)
PAIRS = [
    pytest.param(warmup, decay, begin, slope, id=f"{warmup}x{decay}")
    for begin in BEGINS
    for warmup, (decay, slope) in itertools.product(WARMUPS, decays(begin))
]
UPDATES = np.arange(0, 14 * 1000 + 1) / 1000  # 1000 updates an epoch


@pytest.mark.parametrize(("warmup", "decay", "begin", "slope"), PAIRS)
def test_smooth_pairs_never_jump(warmup, decay, begin, slope):
    factors = warmup.at(UPDATES) * decay.at(UPDATES)
    steepest = np.pi / 2 / W + slope  # the product's slope is at most the sum: both are at most 1
    assert np.abs(np.diff(factors)).max() <= steepest / 1000 * (1 + 1e-9)
    if begin >= W:
        assert warmup.at(W) * decay.at(W) == 1.0  # the peak, exactly
        assert (factors[UPDATES <= W] == warmup.at(UPDATES[UPDATES <= W])).all()


STEPS = [
    schedules.CosineDecay(END, begin=W, grain="epoch"),
    schedules.StepDecay((W + 1, W + 5)),
    schedules.StepDecay((W, W + 5), 0.5),
]


@pytest.mark.parametrize("decay", STEPS, ids=str)
@pytest.mark.parametrize("warmup", WARMUPS, ids=str)
def test_decays_in_steps_jump_between_epochs_only_and_after_the_warmup(warmup, decay):
    factors = warmup.at(UPDATES) * decay.at(UPDATES)
    assert warmup.at(W) * decay.at(W) == 1.0
    jumps = np.flatnonzero(np.abs(np.diff(factors)) > 0.01)
    assert len(jumps) > 1
    assert all(jump % 1000 == 0 and jump >= W * 1000 for jump in jumps)


def test_smiths_triangular_policy_is_a_warmup_and_a_cycle():
    """It begins at the lowest rate: up for `step` epochs, down for as many (Smith 2017, section 3.1)."""
    step, lowest = 2.0, 0.25
    cycle = np.floor(1 + UPDATES / (2 * step))
    x = np.abs(UPDATES / step - 2 * cycle + 1)
    smith = lowest + (1 - lowest) * np.maximum(0, 1 - x)
    up, cycles = (
        schedules.LinearWarmup(step, lowest),
        schedules.Cyclical(2 * step, lowest, begin=step),
    )
    np.testing.assert_allclose(up.at(UPDATES) * cycles.at(UPDATES), smith, rtol=1e-12)
