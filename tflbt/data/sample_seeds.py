"""Stateless random numbers for each sample of a batch, whatever batch it happens to be in.

A random transformation must give a sample the same result whether the sample is in a sub-batch of 8 on
one rank or of 512 on eight. So nothing is drawn in sequence: every number is a hash of (seed, epoch, sample,
draw), computed for the whole batch at once in integer arithmetic. The hash is the finaliser of MurmurHash3
(Appleby, 2011, `fmix32`: a bijection of 32-bit words in which each input bit flips each output bit with
probability near 1/2), applied once for every word mixed in.
"""

from __future__ import annotations

import math

import tensorflow as tf

_GOLDEN = 0x9E3779B9  # 2^32 / golden ratio: keeps the word 0 from being the hash's fixed point
_MULTIPLIER_1, _MULTIPLIER_2 = 0x85EBCA6B, 0xC2B2AE35  # fmix32's own constants
_STEPS = 2**24  # float32 holds each k / 2^24 exactly


def sample_seeds(
    seed: int, epoch: tf.Tensor, indices: tf.Tensor, instances: tf.Tensor | None = None
) -> tf.Tensor:
    """Derives two seed words, int32 `[n, 2]`, for each sample from (seed, epoch, index, instance) and nothing else.

    The seed is 0 .. 2^63 - 1, the epoch a scalar or `[n]`; `indices`, `[n]`, are places in the data set, `instances`,
    `[n]`, 0 .. 2^32 - 1 (default: 0 for every row). A row of the result is also a valid seed for
    `tf.random.stateless_*`.
    """
    epoch, indices = tf.cast(epoch, tf.int64), tf.cast(indices, tf.int64)
    state = tf.constant([0, 1], tf.uint32)  # both columns at once: operations are few, whatever n
    for word in (seed & 0xFFFFFFFF, seed >> 32):
        state = _mix(state, tf.cast(word, tf.uint32))
    for words in (*_low_and_high(tf.reshape(epoch, [-1])), *_low_and_high(indices)):
        state = _mix(state, tf.cast(words, tf.uint32)[:, None])
    if instances is not None:  # the first instance keeps the seeds that it would have alone
        numbers = tf.cast(instances, tf.uint32)[:, None]
        state = tf.where(numbers > 0, _mix(state, numbers), state)
    return tf.bitcast(state, tf.int32)


def fold_in(seeds: tf.Tensor, number: int) -> tf.Tensor:
    """Derives new seeds, independent of the old ones, for use `number` (0 .. 2^32 - 1) of the same samples."""
    return tf.bitcast(_hash(seeds, (2 * number, 2 * number + 1)), tf.int32)


def uniform_integers(seeds: tf.Tensor, draw: int, bound: int) -> tf.Tensor:
    """Draws one integer per sample, int32 `[n]`, uniform over `0 .. bound - 1`; the bound is at most 2^31 - 1.

    The 32-bit hash h becomes `floor(h * bound / 2^32)`; each value's probability is within 2^-32 of 1 / bound. `draw`,
    0 .. 2^32 - 1, says which of a sample's numbers it is; different draws are independent.
    """
    state = tf.cast(_hash(seeds, (draw,))[:, 0], tf.int64)
    return tf.cast(tf.bitwise.right_shift(state * bound, tf.constant(32, tf.int64)), tf.int32)


def uniform(seeds: tf.Tensor, draw: int, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
    """Draws one number per sample, float32 `[n]`, uniform over `low + (high - low) * k / 2^24`, k = 0 .. 2^24 - 1.

    `draw` is as in `uniform_integers`. Numbers from 0 to 1 never reach 1; others may reach `high`, by float32's
    rounding.
    """
    steps = tf.cast(uniform_integers(seeds, draw, _STEPS), tf.float32)
    return low + (high - low) * (steps / _STEPS)


def normal(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """Draws `count` numbers of the standard Gaussian per sample, float32 `[n, count]` (Box and Muller)."""
    half = -(-count // 2)
    words = tf.bitwise.right_shift(_hash(seeds, tuple(range(2 * half))), tf.constant(8, tf.uint32))
    within = (tf.cast(words, tf.float32) + 0.5) / _STEPS  # above 0
    length = tf.sqrt(-2 * tf.math.log(within[:, :half]))
    angle = 2 * math.pi * within[:, half:]
    return tf.concat([length * tf.cos(angle), length * tf.sin(angle)], axis=1)[:, :count]


def _hash(seeds: tf.Tensor, numbers: tuple[int, ...]) -> tf.Tensor:
    """Hashes each sample's seeds with each of k numbers: uint32 `[n, k]`."""
    words = tf.bitcast(seeds, tf.uint32)
    numbers = tuple(number & 0xFFFFFFFF for number in numbers)
    return _mix(_mix(words[:, :1], words[:, 1:]), tf.constant(numbers, tf.uint32))


def _low_and_high(value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    low = tf.bitwise.bitwise_and(value, tf.constant(0xFFFFFFFF, tf.int64))
    return low, tf.bitwise.right_shift(value, tf.constant(32, tf.int64))


def _mix(state: tf.Tensor, word: tf.Tensor) -> tf.Tensor:
    """Mixes one more word into a 32-bit state: `fmix32((state * golden ^ word) + golden)`."""
    golden = tf.constant(_GOLDEN, tf.uint32)
    state = tf.bitwise.bitwise_xor(state * golden, word) + golden
    for shift, multiplier in ((16, _MULTIPLIER_1), (13, _MULTIPLIER_2), (16, 1)):
        shifted = tf.bitwise.right_shift(state, tf.constant(shift, tf.uint32))
        state = tf.bitwise.bitwise_xor(state, shifted)
        if multiplier != 1:
            state = state * tf.constant(multiplier, tf.uint32)
    return state
