"""Lets a fused kernel write its result into a variable that is lent for the moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def run_on(variable: tf.Variable, start: tf.Tensor, kernel: Callable[[], Any]) -> tf.Tensor:
    """Runs a kernel with `start` in the place of a variable's value, and returns what it makes of it.

    TensorFlow's fused optimizer kernels add their update to a variable, and a layer-wise optimizer needs the update
    itself, before anything is added. Reading and assigning a variable passes its buffer on without copying, so
    this costs one buffer of the variable's size and no pass over memory.

    Args:
        variable: Lent to the kernel; it holds its own value again afterwards.
        start: A tensor like it.
        kernel: Changes the variable; what it returns is ignored.

    Returns:
        The value that the kernel left.

    Example:
        >>> w = tf.Variable([5.0])
        >>> run_on(w, tf.constant([1.0]), lambda: w.assign_add([2.0])).numpy().tolist(), w.numpy().tolist()
        ([3.0], [5.0])
    """
    before = variable.read_value()
    variable.assign(start)
    kernel()
    result = variable.read_value()
    variable.assign(before)
    return result
