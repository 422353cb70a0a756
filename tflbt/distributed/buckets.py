"""Variables as the tensors that a broadcast carries: several of a type in a bucket, copied as little as can be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# Of a bucket of several variables. The broadcast of a smaller one is no slower per byte.
MOST_BYTES = 32 * 2**20
_raw = tf.raw_ops


def of(variables: Sequence[tf.Variable], most: int = MOST_BYTES) -> Iterator[list[tf.Variable]]:
    """The variables, type by type and in their order, in lists of at most so many bytes or of a single variable."""
    for dtype in dict.fromkeys(variable.dtype for variable in variables):
        bucket: list[tf.Variable] = []
        used = 0
        for variable in (each for each in variables if each.dtype == dtype):
            more = size([variable])
            if bucket and used + more > most:
                yield bucket
                bucket, used = [], 0
            bucket.append(variable)
            used += more
        yield bucket


def size(bucket: Sequence[tf.Variable]) -> int:
    """The number of bytes in a bucket."""
    return sum(v.shape.num_elements() * v.dtype.size for v in bucket)


# Raw operations, as the methods of hundreds of small variables take longer than to send them.
def packed(bucket: Sequence[tf.Variable]) -> tf.Tensor:
    """The values of a bucket in a row; a single variable's are not copied."""
    rows = [_shaped(_raw.ReadVariableOp(resource=v.handle, dtype=v.dtype), v, [-1]) for v in bucket]
    return rows[0] if len(rows) == 1 else _raw.ConcatV2(values=rows, axis=0)


def unpack(content: tf.Tensor, bucket: Sequence[tf.Variable]) -> None:
    """Assigns values that were `packed`; until they are updated they share its memory."""
    sizes = [variable.shape.num_elements() for variable in bucket]
    parts = _raw.SplitV(value=content, size_splits=sizes, axis=0, num_split=len(sizes))
    for variable, part in zip(bucket, parts):
        value = _shaped(part, variable, variable.shape)
        _raw.AssignVariableOp(resource=variable.handle, value=value)


def _shaped(value: tf.Tensor, variable: tf.Variable, shape: Any) -> tf.Tensor:
    """A variable's values in another shape, if it is no row itself."""
    return value if variable.shape.rank == 1 else _raw.Reshape(tensor=value, shape=shape)


def values(variable: tf.Variable) -> np.ndarray:
    """A variable's values, not copied where they are in this memory: only to be read, and before the next update."""
    tensor = _raw.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
    return np.asarray(tensor if variable.shape.rank else tensor.numpy())
