"""Users' functions in a traced function: converted by AutoGraph; eagerly: called as they are."""

from __future__ import annotations

import tensorflow as tf

from tflbt.data.user_functions import converted


def sign(x):
    """The sign of a tensor, with Python's `if`."""
    if x > 0:
        return 1
    return -1


def test_a_traced_function_converts_what_it_calls():
    traced = tf.function(lambda x: converted(sign)(x))
    assert [int(traced(tf.constant(x))) for x in (2.0, -2.0)] == [1, -1]


def test_eagerly_a_function_is_itself():
    assert converted(sign) is sign
