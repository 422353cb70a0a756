"""Time is counted to the part that it was spent on, in a loop of a compiled function too."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import stopwatch
from tflbt.training.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when it is told to."""
    moment = [100.0]
    monkeypatch.setattr(stopwatch, "_clock", lambda: np.float64(moment[0]))

    def wait(seconds: float, value: tf.Tensor) -> tf.Tensor:
        def move(value):
            moment[0] += seconds
            return value

        return tf.ensure_shape(tf.numpy_function(move, [value], value.dtype), value.shape)

    return wait


@pytest.mark.parametrize("compiled", [False, True])
def test_every_second_is_counted_once(clock, compiled):
    seconds, moment = tf.Variable(tf.zeros(3, tf.float64)), tf.Variable(0.0, dtype=tf.float64)

    def update(x):
        lap = Stopwatch(seconds, moment)

        def body(i, x):
            with tf.control_dependencies([lap.read("computation", [x])]):
                waited = clock(1.0, tf.identity(i))
            waited = lap("input", waited)
            return waited + 1, clock(10.0, x + tf.cast(waited, tf.float32))

        _, x = tf.while_loop(lambda i, _: i < 3, body, (tf.constant(0), x), parallel_iterations=1)
        values = lap("computation", {"x": x, "more": [x + 1]})
        summed = lap("communication", clock(100.0, values["x"]))
        return lap("computation", clock(0.5, summed)), values["more"][0]

    update = tf.function(update) if compiled else update
    for call in (1, 2):
        x, more = update(tf.constant(4.0))
        assert (float(x), float(more)) == (7.0, 8.0)
        np.testing.assert_allclose(seconds, call * np.array([3.0, 30.5, 100.0]))


def test_the_clock_is_the_computers():
    before = time.perf_counter()
    assert before <= float(stopwatch._now([])) <= time.perf_counter()
