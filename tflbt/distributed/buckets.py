"""Variables as the bytes that a broadcast carries: several in a bucket, whatever their types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

MOST_BYTES = (
    32 * 2**20
)  # of a bucket of several variables; a broadcast of fewer is no slower per byte


def of(variables: Sequence[tf.Variable], most: int = MOST_BYTES) -> Iterator[list[tf.Variable]]:
    """The variables in their order, in lists of at most so many bytes or of a single variable."""
    bucket: list[tf.Variable] = []
    for variable in variables:
        if bucket and size([*bucket, variable]) > most:
            yield bucket
            bucket = []
        bucket.append(variable)
    if bucket:
        yield bucket


def size(bucket: Sequence[tf.Variable]) -> int:
    """The number of bytes in a bucket."""
    return sum(v.shape.num_elements() * v.dtype.size for v in bucket)


def packed(bucket: Sequence[tf.Variable]) -> np.ndarray:
    """The values of a bucket, uint8 `[size]`; a single variable's are not copied where they are in this memory."""
    parts = [np.ascontiguousarray(values(v)).reshape(-1).view(np.uint8) for v in bucket]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def unpack(content: np.ndarray, bucket: Sequence[tf.Variable]) -> None:
    """Assigns values that were `packed`."""
    begin = 0
    for variable in bucket:
        end = begin + size([variable])
        part = content[begin:end].view(variable.dtype.as_numpy_dtype)
        variable.assign(part.reshape(variable.shape))
        begin = end


def values(variable: tf.Variable) -> np.ndarray:
    """A variable's values, not copied where they are in this memory: only to be read, and before the next update."""
    tensor = variable.read_value()
    return np.asarray(tensor if variable.shape.rank else tensor.numpy())
