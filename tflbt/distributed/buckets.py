"""Variables as the tensors that a broadcast carries: several of a type in a bucket, copied as little as can be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

# Of a bucket of several variables. The broadcast of a smaller one is no slower per byte.
MOST_BYTES = 32 * 2**20


def of(variables: Sequence[tf.Variable], most: int = MOST_BYTES) -> Iterator[list[tf.Variable]]:
    """The variables, type by type and in their order, in lists of at most so many bytes or of a single variable."""
    for dtype in dict.fromkeys(variable.dtype for variable in variables):
        bucket: list[tf.Variable] = []
        for variable in (each for each in variables if each.dtype == dtype):
            if bucket and size([*bucket, variable]) > most:
                yield bucket
                bucket = []
            bucket.append(variable)
        yield bucket


def size(bucket: Sequence[tf.Variable]) -> int:
    """The number of bytes in a bucket."""
    return sum(v.shape.num_elements() * v.dtype.size for v in bucket)


def packed(bucket: Sequence[tf.Variable]) -> tf.Tensor:
    """The values of a bucket in a row; a single variable's are not copied."""
    rows = [tf.reshape(variable, [-1]) for variable in bucket]
    return rows[0] if len(rows) == 1 else tf.concat(rows, 0)


def unpack(content: tf.Tensor, bucket: Sequence[tf.Variable]) -> None:
    """Assigns values that were `packed`; until they are updated they share its memory."""
    parts = tf.split(content, [variable.shape.num_elements() for variable in bucket])
    for variable, part in zip(bucket, parts):
        variable.assign(tf.reshape(part, variable.shape))


def values(variable: tf.Variable) -> np.ndarray:
    """A variable's values, not copied where they are in this memory: only to be read, and before the next update."""
    tensor = variable.read_value()
    return np.asarray(tensor if variable.shape.rank else tensor.numpy())
