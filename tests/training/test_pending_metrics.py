"""What a computation writes into variables is undone, also after an exception."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tflbt.training import LargeBatchModel
from tflbt.training.pending_metrics import PendingMetrics, metric_variables, preserved


def test_variables_are_restored_after_an_exception_too():
    variable = tf.Variable(1.0)
    with preserved([variable]):
        variable.assign(2.0)
    assert float(variable) == 1.0
    with pytest.raises(KeyError), preserved([variable]):
        variable.assign(3.0)
        raise KeyError
    assert float(variable) == 1.0


def test_variables_are_restored_in_a_compiled_function():
    variable = tf.Variable(1.0)

    @tf.function
    def run():
        with preserved([variable]):
            inside = variable.assign(2.0).read_value()
        return inside, variable.read_value()

    assert [float(value) for value in run()] == [2.0, 1.0]


def test_one_process_moves_no_metric(samples, network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse", ["mae"])
    model.fit(*samples, batch_size=16, verbose=0)
    values = [v.numpy() for v in metric_variables(model)]
    assert len(values) == 4  # totals and counts of the loss and mae
    pending = PendingMetrics(model)
    assert pending.local() == []
    pending.settle([])
    assert [v.numpy() for v in metric_variables(model)] == values
