"""The median of a layer's absolute values, without sorting them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt.optimizers import keras_slots

SORTED = 4096  # up to so many numbers, sorting costs less than counting them into bins
MOST = 1 << 19  # of more numbers, every k-th one is taken
_LOW = 16  # bits of the second count; the first one takes the 15 above them, without the sign
_ROW = 256  # bins


def median(tensor: tf.Tensor) -> tf.Tensor:
    """The lower median of |x|: of n numbers the one of rank (n - 1) // 2 from 0, as `torch.median` has it.

    It is an element of |x| in float32, whatever the scale and the distribution (float64 is rounded first; NaN counts as
    larger than every number), and exact up to 524,288 numbers. Of more, every k-th one is taken with the smallest odd k
    that leaves no more than that: a standard error of 0.2% for normal numbers, beside a gradient's own noise, for a
    quarter of the time. An odd k meets every channel in turn. The shape must be known when the step is traced.

    The bits of a positive float32, read as a whole number, are ordered as the numbers are. So the upper half of the
    bits is counted into bins, the bin that holds the median is found, and of what is in it the lower half of the bits
    is counted: two passes. Counts are whole numbers, so every rank and every run gets the same median, and so does
    XLA. With TensorFlow's `enable_op_determinism`, under which a GPU refuses to count into bins, the 31 bits are
    found one by one, in as many passes.
    """
    values = tf.reshape(tensor, [-1])
    every = -(-values.shape[0] // MOST) | 1
    values = tf.cast(values[::every] if every > 1 else values, tf.float32)
    count = values.shape[0]
    rank = (count - 1) // 2
    bits = tf.bitwise.bitwise_and(tf.bitcast(values, tf.int32), 0x7FFFFFFF)  # without the sign
    if count <= SORTED:
        return tf.bitcast(tf.sort(bits)[rank], tf.float32)
    find = _bit_by_bit if keras_slots.is_deterministic() else _by_counting
    return tf.bitcast(find(bits, rank), tf.float32)


def _by_counting(bits: tf.Tensor, rank: int) -> tf.Tensor:
    """The number of this rank: its upper bits, then, among those with the same, its lower bits."""
    # Unsigned numbers are shifted in half of the time.
    shifted = tf.bitwise.right_shift(tf.bitcast(bits, tf.uint32), _LOW)
    upper, below = _bin_of(tf.bitcast(shifted, tf.int32), 1 << (31 - _LOW), rank)
    upper = tf.bitwise.left_shift(upper, _LOW)
    # Other upper bits make the difference too large for the bins, and such numbers are not counted.
    lower, _ = _bin_of(tf.bitwise.bitwise_xor(bits, upper), 1 << _LOW, rank - below)
    return upper + lower


def _bin_of(numbers: tf.Tensor, bins: int, rank: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """The bin in which the number of this rank is, and how many numbers are in bins below."""
    counts = tf.raw_ops.Bincount(arr=numbers, size=bins, weights=tf.zeros([0], tf.int32))
    # By rows of bins first: adding up tens of thousands one after the other would cost more than counting.
    rows = tf.reshape(counts, [-1, _ROW])
    row, below_row = _place(tf.reduce_sum(rows, axis=1), rank)
    # Not rows[row]: XLA would compute the index while it compiles, for seconds, and of denormals it got it wrong.
    column, below = _place(tf.gather(rows, row), rank - below_row)
    return row * _ROW + column, below_row + below


def _place(counts: tf.Tensor, rank: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Which of the counts reaches beyond the rank, and the sum of those before it."""
    before = tf.cumsum(counts, exclusive=True)
    found = tf.reshape(
        tf.raw_ops.UpperBound(sorted_inputs=before[tf.newaxis], values=tf.reshape(rank, [1, 1])), []
    )
    return found - 1, tf.gather(before, found - 1)


def _bit_by_bit(bits: tf.Tensor, rank: int) -> tf.Tensor:
    """The largest number with at most `rank` numbers below it."""

    def set_bit(bit: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        larger = tf.bitwise.bitwise_or(found, tf.bitwise.left_shift(1, bit))
        below = tf.math.count_nonzero(bits < larger, dtype=tf.int32)
        return bit - 1, tf.where(below <= rank, larger, found)

    start = (tf.constant(30), tf.constant(0))
    return tf.while_loop(lambda bit, _: bit >= 0, set_bit, start)[1]
