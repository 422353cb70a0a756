"""Calls users' functions inside traced ones as Keras does: Python `if` and `for` on tensors become TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def converted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A user's function, converted by AutoGraph where a graph is being traced.

    AutoGraph converts what it meets on its way from function to function, but tflbt's own functions are not on that
    way (see `tflbt.training.keras_internals`): they would be converted in every process anew.
    """
    if tf.executing_eagerly():
        return function
    autograph = tf.__internal__.autograph
    return autograph.tf_convert(function, autograph.control_status_ctx())
