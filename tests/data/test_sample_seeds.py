"""The per-sample random numbers: the same as a plain Python hash, within their bounds, and evenly spread."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data.sample_seeds import fold_in, normal, sample_seeds, uniform, uniform_integers

WORD = 0xFFFFFFFF
SEEDS = sample_seeds(0, tf.constant(0), tf.range(50_000))


def _mix(state, word):
    """MurmurHash3's finaliser, written with Python's integers."""
    state = ((((state * 0x9E3779B9) & WORD) ^ word) + 0x9E3779B9) & WORD
    state = ((state ^ state >> 16) * 0x85EBCA6B) & WORD
    state = ((state ^ state >> 13) * 0xC2B2AE35) & WORD
    return state ^ state >> 16


def _seed(column, seed, epoch, index):
    state = column
    for value in (seed, epoch, index):
        state = _mix(_mix(state, value & WORD), value >> 32)
    return state


@pytest.mark.parametrize("seed", [0, 1, 2**40 + 5, 2**63 - 1])
def test_seeds_equal_a_plain_hash(seed):
    indices = [0, 1, 77, 2**35]
    seeds = sample_seeds(seed, tf.constant(6, tf.int64), tf.constant(indices, tf.int64))
    expected = [[_seed(column, seed, 6, index) for column in (0, 1)] for index in indices]
    assert seeds.dtype == tf.int32
    np.testing.assert_array_equal(seeds.numpy().view(np.uint32), np.array(expected, np.uint32))


def test_seeds_are_distinct_over_samples_epochs_and_runs():
    seeds = [
        sample_seeds(seed, tf.constant(epoch), tf.range(1000)).numpy()
        for seed in (0, 1)
        for epoch in range(10)
    ]
    assert len(np.unique(np.concatenate(seeds), axis=0)) == 20_000


def test_integers_are_uniform_and_draws_independent():
    seeds = sample_seeds(0, tf.constant(0), tf.range(90_000))
    first, second = (uniform_integers(seeds, draw, 9).numpy() for draw in (0, 1))
    table = np.zeros([9, 9])
    np.add.at(table, (first, second), 1)
    expected = 90_000 / 81
    # chi-squared with 80 degrees of freedom: mean 80, deviation 12.6; five deviations
    assert ((table - expected) ** 2 / expected).sum() < 80 + 5 * 12.6


def test_bits_of_neighbouring_samples_are_uncorrelated():
    words = sample_seeds(0, tf.constant(0), tf.range(20_001)).numpy().view(np.uint8)
    bits = np.unpackbits(words, axis=1).astype(float) * 2 - 1
    correlation = bits[:-1].T @ bits[1:] / 20_000
    assert np.abs(correlation).max() < 6 / np.sqrt(20_000)


def test_folding_gives_other_seeds_for_each_use():
    seeds = sample_seeds(0, tf.constant(0), tf.range(1000))
    used = [seeds.numpy()] + [fold_in(seeds, number).numpy() for number in range(3)]
    assert len(np.unique(np.concatenate(used), axis=0)) == 4000


def test_no_samples_are_no_trouble():
    seeds = sample_seeds(0, tf.constant(0), tf.zeros([0], tf.int64))
    assert seeds.shape == (0, 2)
    assert fold_in(seeds, 1).shape == (0, 2)
    assert uniform_integers(seeds, 0, 9).shape == (0,)


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


def test_gaussian_numbers_are_so_and_independent():
    values = normal(SEEDS, 3).numpy()
    assert values.shape == (50_000, 3) and values.dtype == np.float32
    assert np.abs(values.mean(axis=0)).max() < 0.03
    assert np.abs(np.cov(values.T) - np.eye(3)).max() < 0.03
    within = [(np.abs(values) < k).mean() for k in (1, 2, 3)]
    np.testing.assert_allclose(within, [0.6827, 0.9545, 0.9973], atol=3e-3)
