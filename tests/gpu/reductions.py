"""A program: one rank reduces tensors of every type on a device, which runs each of Horovod's CUDA kernels.

    python tests/gpu/reductions.py /GPU:0

Alone and together (one buffer for all, in batched copies), with factors before and after, in sizes that are no whole
number of words. It prints what differs from NumPy's result, or "equal".
"""

from __future__ import annotations

import sys

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

SIZES = (1, 3, 8, 1025, 40_000)
FACTORS = ((1.0, 1.0), (0.5, 1.0), (1.0, 4.0), (0.5, 4.0))
TYPES = ("float16", "float32", "float64", "int8", "uint8", "int32", "int64")


def expected(values: np.ndarray, before: float, after: float) -> np.ndarray:
    """What one rank's sum is: its values by both factors, rounded as the type rounds after each."""
    for factor in (before, after):
        values = (values * np.asarray(factor, "float64")).astype(values.dtype)
    return values


def check(device: str, dtype: str, factors: tuple[float, float]) -> list[str]:
    """Reduces arrays of a type and says what is wrong."""
    # Small even numbers: halves and quadruples of them are exact in every type.
    arrays = [2 * (np.arange(size) % 11).astype(dtype) for size in SIZES]
    with tf.device(device):
        tensors = [tf.identity(tf.constant(array)) for array in arrays]
        options = dict(op=hvd.Sum, prescale_factor=factors[0], postscale_factor=factors[1])
        name = f"{dtype}.{factors}"
        together = hvd.grouped_allreduce(tensors, name=f"together.{name}", **options)
        alone = [hvd.allreduce(t, name=f"alone.{len(t)}.{name}", **options) for t in tensors]
    wrong = []
    for way, results in (("together", together), ("alone", alone)):
        for array, result in zip(arrays, results):
            if not np.array_equal(result.numpy(), expected(array, *factors)):
                wrong.append(f"{dtype} of {array.size}, {way}, factors {factors}: {result[:4]}")
    return wrong


def main(device: str) -> None:
    """Prints the verdict."""
    hvd.init()
    wrong = [
        line for dtype in TYPES for factors in FACTORS for line in check(device, dtype, factors)
    ]
    print("\n".join(wrong) or "equal")


if __name__ == "__main__":
    main(sys.argv[1])
