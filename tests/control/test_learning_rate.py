"""Tests of `ComposedRate`: callbacks that set one learning rate together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tflbt.control import ComposedRate


def test_the_rate_is_the_product_in_every_order():
    factors = {"warmup": 0.3, "two_phase": 0.5, "step_decay": 0.1}
    for order in itertools.permutations(factors):
        rate = ComposedRate(0.8)
        last = [rate.set(owner, factors[owner]) for owner in order][-1]
        assert last == pytest.approx(0.8 * 0.3 * 0.5 * 0.1)
        assert rate.value == last


def test_setting_a_factor_again_replaces_it():
    rate = ComposedRate(1.0)
    rate.set("warmup", 0.1)
    assert rate.set("warmup", 0.2) == pytest.approx(0.2)


def test_an_assigned_rate_becomes_the_product():
    rate = ComposedRate(1.0)
    rate.set("two_phase", 0.5)
    rate.set("warmup", 0.5)
    rate.observe(0.1)
    assert rate.value == pytest.approx(0.1)
    assert rate.set("warmup", 1.0) == pytest.approx(0.2)


def test_float32_rounding_is_nobodys_assignment():
    """Keras keeps the rate in float32: reading it back must not move the base, however often."""
    rate = ComposedRate(0.1)
    for factor in np.linspace(0.001, 1.0, 1000):
        rate.observe(float(np.float32(rate.set("warmup", float(factor)))))
    assert rate.base == 0.1


def test_a_rate_assigned_at_factor_zero_is_the_base():
    rate = ComposedRate(1.0)
    rate.set("warmup", 0.0)
    rate.observe(0.4)
    assert rate.set("warmup", 1.0) == pytest.approx(0.4)


def test_folding_makes_a_factor_part_of_the_base_and_keeps_the_rate():
    rate = ComposedRate(1.0)
    rate.set("two_phase", 0.5)
    rate.set("warmup", 0.1)
    rate.fold("two_phase")
    rate.fold("never set")
    assert (rate.base, rate.factors, rate.value) == (0.5, {"warmup": 0.1}, 0.05)
    rate.observe(0.05)  # what the optimizer still holds is no assignment of somebody else's
    assert rate.set("warmup", 1.0) == 0.5


def test_a_rate_that_float32_cannot_hold_is_nobodys_assignment():
    rate = ComposedRate(0.1)
    assert np.float32(rate.set("curve", 1e-50)) == 0
    rate.observe(0.0)
    assert rate.set("curve", 1.0) == 0.1
