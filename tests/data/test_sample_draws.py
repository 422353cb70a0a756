"""Uniform real numbers: within their bounds, evenly spread, and the integers' own fractions."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tflbt.data.sample_draws import uniform
from tflbt.data.sample_seeds import sample_seeds, uniform_integers

SEEDS = sample_seeds(0, tf.constant(0), tf.range(50_000))


def test_numbers_are_24_bits_over_two_to_the_24th():
    drawn = uniform(SEEDS, 3).numpy()
    assert drawn.dtype == np.float32 and 0 <= drawn.min() < 1e-3 < 0.999 < drawn.max() < 1
    np.testing.assert_array_equal(drawn * 2.0**24, uniform_integers(SEEDS, 3, 2**24))


def test_numbers_are_evenly_spread_over_their_range():
    counts, _ = np.histogram(uniform(SEEDS, 0, -2.0, 3.0).numpy(), np.linspace(-2, 3, 51))
    # 49 degrees of freedom: 95 is exceeded once in ten thousand.
    assert counts.sum() == 50_000 and ((counts - 1000) ** 2 / 1000).sum() < 95


def test_no_range_is_one_number():
    assert (uniform(SEEDS, 0, 1.0, 1.0).numpy() == 1).all()
