"""Lets a fused kernel write its result into a variable that is lent for the moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def run_on(variable: tf.Variable, start: tf.Tensor, kernel: Callable[[], Any]) -> tf.Tensor:
    """Runs a kernel with `start` in the place of a variable's value, and returns what it makes of it.

    TensorFlow's fused optimizer kernels add their update to a variable, and a layer-wise optimizer needs the update
    itself, before anything is added. Afterwards the variable holds its own value again. Reading and assigning a
    variable passes its buffer on without copying, so this costs one buffer of its size and no pass over memory.
    """
    before = variable.read_value()
    variable.assign(start)
    kernel()
    result = variable.read_value()
    variable.assign(before)
    return result
