"""Validators: what they let pass, and what their messages say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tflbt import checks


@pytest.mark.parametrize("value", [0, 0.5, np.float32(0.25), np.int64(0)])
def test_numbers_within_bounds_pass(value):
    checks.number("share", value, at_least=0, less_than=1)


@pytest.mark.parametrize("value", [-0.1, 1, math.nan, math.inf, True, None, "0.5"])
def test_everything_else_is_refused(value):
    with pytest.raises(ValueError, match="share=.* must be at least 0 and less than 1"):
        checks.number("share", value, at_least=0, less_than=1)


def test_a_number_without_bounds_must_be_finite():
    with pytest.raises(ValueError, match="^rate=inf must be a finite number, as 0.1.$"):
        checks.number("rate", math.inf, hint=", as 0.1")


def test_infinity_is_not_called_too_small():
    with pytest.raises(ValueError, match="^epochs=inf must be finite and more than 0.$"):
        checks.number("epochs", math.inf, more_than=0)


@pytest.mark.parametrize("value", [(), (0, 1), (2, 1), (1, 1), (1, math.nan), 5, "12", (True, 2)])
@pytest.mark.parametrize("whole", [True, False])
def test_increasing_numbers(value, whole):
    checks.increasing("epochs", [1, np.int64(3)], whole=whole)
    with pytest.raises(ValueError, match=r"^epochs=.* must be increasing .*numbers.*as \(1, 2\).$"):
        checks.increasing("epochs", value, whole=whole, hint=", as (1, 2)")


def test_increasing_numbers_may_have_to_be_whole():
    checks.increasing("epochs", [0.5, 1.5])
    with pytest.raises(ValueError, match="must be increasing whole numbers"):
        checks.increasing("epochs", [0.5, 1.5], whole=True)


@pytest.mark.parametrize("value", [0.5, 1.0, True, None, 0, 4])
def test_whole_numbers(value):
    checks.whole("epochs", np.int32(3), at_least=1, at_most=3)
    with pytest.raises(ValueError, match="must be a whole number, between 1 and 3"):
        checks.whole("epochs", value, at_least=1, at_most=3)


def test_choices():
    checks.one_of("scope", None, (None, "update"))
    with pytest.raises(ValueError, match="scope='x' must be one of None, 'update'"):
        checks.one_of("scope", "x", (None, "update"))
