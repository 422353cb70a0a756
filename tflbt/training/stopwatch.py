"""Reads the clock between the operations of a compiled function, to measure where an update's time goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

PARTS = ("input", "computation", "communication")
Lap = Callable[[str, Any], Any]  # a Stopwatch, or `untimed`


class Stopwatch:
    """Adds the time between two readings to one part of an update: `sums = lap("computation", sums)`.

    The last reading is in the variable `moment`, so that laps may be taken inside of loops; `seconds` are those of each
    of `PARTS`, and only grow.
    """

    def __init__(self, seconds: tf.Variable, moment: tf.Variable) -> None:
        self._seconds, self._moment = seconds, moment
        moment.assign(_now([]))

    def __call__(self, part: str, values: Any) -> Any:
        """Counts the time until all of `values` are there to a part; returns them, for what may begin only then."""
        with tf.control_dependencies([self.read(part, tf.nest.flatten(values))]):
            return tf.nest.map_structure(tf.identity, values)

    def read(self, part: str, after: Sequence[tf.Tensor]) -> tf.Tensor:
        """The same, returning the reading: a float64 scalar."""
        moment = _now(after)
        with tf.device("CPU:0"):
            share = tf.one_hot(PARTS.index(part), len(PARTS), dtype=tf.float64)
            self._seconds.assign_add(share * (moment - self._moment))
            self._moment.assign(moment)
        return moment


def untimed(part: str, values: Any) -> Any:
    """What stands for a Stopwatch where nobody asks where the time goes."""
    return values


# TensorFlow keeps what numpy_function calls for as long as the process runs; converted by AutoGraph it would hold on
# to the whole graph.
@tf.autograph.experimental.do_not_convert
def _now(after: Sequence[Any]) -> tf.Tensor:
    """The time in seconds, float64, once all of `after` are there.

    On a GPU an operation counts as done when it is queued, so computation shows where its result is waited for.
    """
    with tf.control_dependencies(list(after)), tf.device("CPU:0"):
        # Some 50 microseconds. tf.timestamp refuses to run where operations were asked to be deterministic.
        moment = tf.numpy_function(_clock, [], tf.float64)
    return tf.ensure_shape(moment, [])


def _clock() -> np.float64:
    return np.float64(time.perf_counter())
