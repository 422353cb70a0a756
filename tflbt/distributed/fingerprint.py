r"""Fingerprints of tensors, and whether those of all ranks are equal, found with sums over the ranks alone.

A fingerprint has 64 bits. Each rank contributes its 16 hexadecimal digits d and their squares to an all-reduce that
takes place anyway; all ranks' digits are equal exactly where $R \sum d^2 = (\sum d)^2$ (Cauchy and Schwarz). The sums
are whole numbers below 2^24 for up to 70,000 ranks, so that float32 holds them exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_SMALL = 2**14  # bytes, in which TensorFlow's operation begins no sooner than Python ends


def fingerprint(tensor: Any) -> tf.Tensor:
    """The fingerprint of a tensor's bits, uint8 `[8]`; all NaNs count as the same."""
    tensor = tf.convert_to_tensor(tensor)
    if tensor.dtype.is_floating:
        tensor = tf.where(tf.math.is_nan(tensor), tf.constant(float("nan"), tensor.dtype), tensor)
    # TensorFlow gives an empty row no fingerprint of its own.
    row = tf.reshape(tensor, [1, -1]) if tensor.shape.num_elements() != 0 else tf.zeros([1, 1])
    return tf.squeeze(tf.raw_ops.Fingerprint(data=row, method="farmhash64"), [0])


def fingerprint_of_all(tensors: Sequence[Any]) -> tf.Tensor:
    """The fingerprint of several tensors in their order, uint8 `[8]`; single numbers, of a kind, have one together."""
    groups: dict[Any, list[tf.Tensor]] = {}
    for place, tensor in enumerate(map(tf.convert_to_tensor, tensors)):
        is_float = tensor.dtype.is_floating
        kind = (tf.float64 if is_float else tf.int64) if tensor.shape.rank == 0 else place
        groups.setdefault(kind, []).append(tensor)
    rows = [
        group[0] if isinstance(kind, int) else tf.stack([tf.cast(t, kind) for t in group])
        for kind, group in groups.items()
    ]
    return fingerprint(tf.stack([fingerprint(row) for row in rows]))


def of_variables(variables: Sequence[tf.Variable]) -> np.ndarray:
    """The fingerprint of each variable, uint8 `[n, 8]`; at once, as to compile it takes longer than to do it often."""
    with tf.device("CPU:0"):
        return np.stack([of_array(_values(v)) for v in variables])


def _values(variable: tf.Variable) -> np.ndarray:
    """A variable's values, to be read before the next update: they are not copied where they are in this memory."""
    # The raw operation, as the variable's own method takes three times as long.
    tensor = tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
    return np.asarray(tensor if variable.shape.rank else tensor.numpy())


def of_array(array: np.ndarray) -> np.ndarray:
    """The fingerprint of an array in this memory, not that of a tensor, uint8 `[8]`; all NaNs count as the same."""
    are_numbers = array.dtype.kind not in "OSU"
    if are_numbers and array.size and np.isnan(array.min()):
        array = np.where(np.isnan(array), array.dtype.type("nan"), array)
    if are_numbers and array.nbytes < _SMALL:
        return of_bytes(array.tobytes())
    row = array.reshape(1, -1)
    return np.asarray(tf.raw_ops.Fingerprint(data=row, method="farmhash64"))[0]


def of_bytes(content: bytes) -> np.ndarray:
    """The fingerprint of bytes, uint8 `[8]`."""
    return np.frombuffer(hashlib.blake2b(content, digest_size=8).digest(), np.uint8)


def evidence(prints: tf.Tensor) -> tf.Tensor:
    """What a rank contributes to the sum for its fingerprints, uint8 `[..., 8]`: float32 `[2, ..., 16]`."""
    digits = tf.concat([prints // 16, prints % 16], axis=-1)
    digits = tf.cast(digits, tf.float32)
    return tf.stack([digits, tf.square(digits)])


def equal(summed: tf.Tensor, ranks: Any) -> tf.Tensor:
    """Whether the fingerprints of all ranks are equal, bool `[...]`, given the sum of their evidence."""
    digits, squares = tf.unstack(tf.cast(summed, tf.int64))
    return tf.reduce_all(tf.cast(ranks, tf.int64) * squares == digits**2, axis=-1)
