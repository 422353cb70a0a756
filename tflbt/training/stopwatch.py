"""Reads the clock between the operations of a compiled function, to tell where an update's time goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


# TensorFlow keeps what numpy_function calls for as long as the process runs; converted by AutoGraph it would hold on
# to the whole graph.
@tf.autograph.experimental.do_not_convert
def now(after: Sequence[Any]) -> tf.Tensor:
    """The time in seconds, float64, once all of `after` are there.

    On a GPU an operation counts as done when it is queued, so computation shows where its result is waited for.
    """
    with tf.control_dependencies(list(after)), tf.device("CPU:0"):
        # Some 50 microseconds. tf.timestamp refuses to run where operations were asked to be deterministic.
        moment = tf.numpy_function(_clock, [], tf.float64)
    return tf.ensure_shape(moment, [])


def _clock() -> np.float64:
    return np.float64(time.perf_counter())


def not_before(moment: tf.Tensor, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The tensors, for operations that may not begin before `moment` was read."""
    with tf.control_dependencies([moment]):
        return [tf.identity(tensor) for tensor in tensors]
