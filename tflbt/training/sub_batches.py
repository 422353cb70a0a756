"""Pulls a rank's sub-batches one after another, until an update (or evaluation) has its share or the data end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tflbt.training.stopwatch import Lap, Stopwatch, untimed


def first_dimension(data: Any) -> tf.Tensor:
    """Number of samples in a (nested) batch, as a float32 scalar."""
    shape = tf.shape(tf.nest.flatten(data)[0])
    plain = isinstance(shape, tf.Tensor) and shape.shape[0] is not None
    # A slice takes twice as many operations, each of which has to be traced.
    return tf.cast((tf.unstack(shape) if plain else shape)[0], tf.float32)


def pull(
    iterator: Iterator[Any],
    steps: tf.Tensor,
    body: Callable[[tf.Tensor, Any, Any], Any],
    state: Any,
    lap: Lap = untimed,
    after: Callable[[tf.Tensor, Any], Any] = lambda step, state: state,
) -> Any:
    """Returns the state after `state = body(step, data, state)` on up to `steps` sub-batches, a nest of tensors.

    Empty and missing sub-batches change nothing, but `state = after(step, state)` follows them too. A rank whose data
    end first goes on contributing nothing, so ranks with unequal numbers of them make the same number of updates.
    """

    def take(step: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        element, has_value = _next(iterator, state, lap)

        def has_samples() -> tf.Tensor:
            with tf.device("CPU:0"):  # where the data are: they are not sent to a GPU to be counted
                return first_dimension(element.get_value()) > 0

        # Not one condition within the other: whatever the body uses would be handed through both.
        there = tf.cond(has_value, has_samples, lambda: tf.constant(False))
        new = tf.cond(there, lambda: body(step, element.get_value(), state), lambda: state)
        return step + 1, after(step, new)

    return tf.while_loop(
        lambda step, _: step < steps, take, (tf.zeros_like(steps), state), parallel_iterations=1
    )[1]


def _next(iterator: Any, state: Any, lap: Lap) -> tuple[Any, tf.Tensor]:
    """The next sub-batch, which may be missing, and whether it is there; waited for after `state` is computed."""
    if not isinstance(lap, Stopwatch):
        element = iterator.get_next_as_optional()
        return element, element.has_value()
    with tf.control_dependencies([lap.read("computation", tf.nest.flatten(state))]):
        element = iterator.get_next_as_optional()
        has_value = element.has_value()
    return element, lap("input", has_value)
