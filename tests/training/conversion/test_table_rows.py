"""Optimizers whose step by the rows of a batch is another than by the whole table are named with the table."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tflbt.optimizers import LARS
from tflbt.training.conversion import table_rows

new, old = tf.keras.optimizers, tf.keras.optimizers.legacy
# As in plain Keras with an Embedding, whose rows are not all in each batch.
SAME = [
    *(new.SGD(momentum=0.9), new.Adam(), new.RMSprop(momentum=0.9, centered=True), old.SGD()),
    *(old.Adam(), LARS(0.1), tf.keras.mixed_precision.LossScaleOptimizer(new.Adamax())),
]
OTHERS = [
    *(new.Nadam(), old.SGD(momentum=0.9), old.RMSprop(momentum=0.9), old.Nadam(), old.Adamax()),
    *(new.SGD(clipvalue=0.1), new.Adam(clipnorm=1.0), old.Ftrl()),
]


@pytest.mark.parametrize(("optimizers", "named"), [(SAME, False), (OTHERS, True)])
def test_optimizers_that_take_another_step_by_rows_are_named(optimizers, named, caplog):
    table, kernel = tf.Variable(tf.ones([4, 2]), name="table"), tf.Variable([1.0], name="kernel")
    rows = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([1]), tf.constant([4, 2]))
    for optimizer in optimizers:
        table_rows.tell(optimizer, [rows, tf.ones([1])], [table, kernel])
        table_rows.tell(optimizer, [tf.ones([4, 2]), None], [table, kernel])
    assert len(caplog.messages) == named * len(optimizers)
    for message in caplog.messages:
        assert "gets the gradient of table:0 as a whole table" in message
