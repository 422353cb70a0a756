"""Uniform real numbers for each sample of a batch, beside `tflbt.data.sample_seeds`'s integers."""

from __future__ import annotations

import tensorflow as tf

from tflbt.data.sample_seeds import uniform_integers

_STEPS = 2**24  # float32 holds each k / 2^24 exactly


def uniform(seeds: tf.Tensor, draw: int, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
    """Draws one number a sample, uniform over ``low + (high - low) * k / 2^24`` with k = 0 .. 2^24 - 1.

    Args:
        seeds: int32 ``[n, 2]``.
        draw: Which of a sample's numbers, as of `tflbt.data.sample_seeds.uniform_integers`.
        low: Least number, default 0.
        high: Bound, default 1, which no number between 0 and 1 reaches (others may by float32's rounding).

    Returns:
        float32 ``[n]``.

    Example:
        >>> from tflbt.data.sample_draws import uniform
        >>> drawn = uniform(tf.reshape(tf.range(2000), [1000, 2]), 0, 2.0, 3.0)
        >>> round(float(tf.reduce_min(drawn)), 2), round(float(tf.reduce_max(drawn)), 2)
        (2.0, 3.0)
    """
    steps = tf.cast(uniform_integers(seeds, draw, _STEPS), tf.float32)
    return low + (high - low) * (steps / _STEPS)
