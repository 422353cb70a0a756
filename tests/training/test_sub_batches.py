"""Sub-batches are pulled up to a number or the end of the data; empty ones change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training.sub_batches import first_dimension, pull

LENGTHS = (2, 0, 3, 1)  # the second is empty, and there is no fifth


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("steps", "numbers"), [(0, []), (2, [0]), (3, [0, 2]), (9, [0, 2, 3])])
def test_samples_and_numbers_of_the_sub_batches_that_there_are(compiled, steps, numbers):
    parts = tf.data.Dataset.from_generator(
        lambda: ({"x": np.ones([n, 2], np.float32)} for n in LENGTHS),
        output_signature={"x": tf.TensorSpec([None, 2])},
    )

    def body(step, data, state):
        return {"seen": state["seen"] + first_dimension(data), "bits": state["bits"] + 2**step}

    def run(iterator):
        nothing = {"seen": tf.constant(0.0), "bits": tf.constant(0)}
        return pull(iterator, tf.constant(steps), body, nothing)

    state = (tf.function(run) if compiled else run)(iter(parts))
    assert float(state["seen"]) == sum(LENGTHS[i] for i in numbers)
    assert int(state["bits"]) == sum(2**i for i in numbers)
