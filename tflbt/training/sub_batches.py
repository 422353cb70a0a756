"""Pulls a rank's sub-batches one after another, until an update (or evaluation) has its share or the data end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tflbt.training import stopwatch


def first_dimension(data: Any) -> tf.Tensor:
    """Number of samples in a (nested) batch, as a float32 scalar."""
    return tf.cast(tf.shape(tf.nest.flatten(data)[0])[0], tf.float32)


def pull(
    iterator: Iterator[Any], steps: tf.Tensor, body: Any, initial: list[tf.Tensor]
) -> list[tf.Tensor]:
    """Runs `state = body(step, data, *state)` on up to `steps` sub-batches; empty and missing ones change nothing.

    Returns the seconds spent waiting for sub-batches, and then the state. A rank whose data ends first goes on
    contributing nothing, so ranks with unequal numbers of sub-batches still make the same number of updates.
    """

    def one(step: tf.Tensor, waited: tf.Tensor, *state: tf.Tensor) -> tuple[tf.Tensor, ...]:
        asked = stopwatch.now(state)
        with tf.control_dependencies([asked]):
            element = iterator.get_next_as_optional()  # type: ignore[attr-defined]
            has_value = element.has_value()
        arrived = stopwatch.now([has_value])
        waited += arrived - asked
        (has_value,) = stopwatch.not_before(arrived, [has_value])

        def present() -> list[tf.Tensor]:
            data = element.get_value()
            return tf.cond(
                first_dimension(data) > 0, lambda: body(step, data, *state), lambda: list(state)
            )

        return (step + 1, waited, *tf.cond(has_value, present, lambda: list(state)))

    results = tf.while_loop(
        lambda step, *_: step < steps,
        one,
        (tf.zeros_like(steps), tf.constant(0.0, tf.float64), *initial),
        parallel_iterations=1,
    )
    return list(results[1:])
