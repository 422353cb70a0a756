r"""Fingerprints of tensors, and whether those of all ranks are equal, found with sums over the ranks alone.

A fingerprint has 64 bits. Each rank contributes its 16 hexadecimal digits d and their squares to an all-reduce that
takes place anyway; all ranks' digits are equal exactly where $R \sum d^2 = (\sum d)^2$ (Cauchy and Schwarz). The sums
are whole numbers below 2^24 for up to 70,000 ranks, so that float32 holds them exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def fingerprint(tensor: Any) -> tf.Tensor:
    """The fingerprint of a tensor's bits, uint8 `[8]`; all NaNs count as the same."""
    tensor = tf.convert_to_tensor(tensor)
    if tensor.dtype.is_floating:
        tensor = tf.where(tf.math.is_nan(tensor), tf.constant(float("nan"), tensor.dtype), tensor)
    # TensorFlow gives an empty row no fingerprint of its own.
    row = tf.reshape(tensor, [1, -1]) if tensor.shape.num_elements() != 0 else tf.zeros([1, 1])
    return tf.raw_ops.Fingerprint(data=row, method="farmhash64")[0]


def fingerprint_of_all(tensors: Sequence[Any]) -> tf.Tensor:
    """The fingerprint of several tensors in their order, uint8 `[8]`."""
    return fingerprint(tf.stack([fingerprint(tensor) for tensor in tensors]))


def evidence(prints: tf.Tensor) -> tf.Tensor:
    """What a rank contributes to the sum for its fingerprints, uint8 `[..., 8]`: float32 `[2, ..., 16]`."""
    digits = tf.concat([prints // 16, prints % 16], axis=-1)
    digits = tf.cast(digits, tf.float32)
    return tf.stack([digits, digits**2])


def equal(summed: tf.Tensor, ranks: Any) -> tf.Tensor:
    """Whether the fingerprints of all ranks are equal, bool `[...]`, given the sum of their evidence."""
    digits, squares = tf.unstack(tf.cast(summed, tf.int64))
    return tf.reduce_all(tf.cast(ranks, tf.int64) * squares == digits**2, axis=-1)


class Fingerprints:
    """Fingerprints lists of variables, by a function that is compiled where the list is none of the last two.

    Two take turns: what an epoch's updates compare, and what an evaluation does.
    """

    def __init__(self) -> None:
        self._compiled: dict[tuple[Any, ...], Any] = {}

    def __call__(self, variables: Sequence[tf.Variable]) -> tf.Tensor:
        """The fingerprint of each variable, uint8 `[n, 8]`."""
        refs = tuple(variable.ref() for variable in variables)
        if refs not in self._compiled:
            self._compiled = dict(list(self._compiled.items())[-1:])
            self._compiled[refs] = tf.function(
                lambda: tf.stack([fingerprint(variable) for variable in variables]), autograph=False
            )
        return self._compiled[refs]()
