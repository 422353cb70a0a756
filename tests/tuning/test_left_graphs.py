"""Graphs of models that are gone are freed; those that can still be called are not touched."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import tensorflow as tf

import tflbt
from tflbt.tuning.left_graphs import free_left_graphs, settled

pytestmark = pytest.mark.usefixtures("settled_before")


def train_a_model() -> None:
    model = tflbt.LargeBatchModel.from_model(
        tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
    )
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    x = np.ones([8, 2], "float32")
    model.fit(x, x[:, :1], batch_size=8, sub_batch_size=4, verbose=0, validation_data=(x, x[:, :1]))


def graphs() -> int:
    """Graphs that hold something; TensorFlow keeps an empty shell of each."""
    kind = tf.__internal__.FuncGraph
    found = [graph for graph in gc.get_objects() if issubclass(type(graph), kind)]
    return sum(bool(graph.get_operations()) for graph in found)


def test_graphs_do_not_pile_up_from_model_to_model():
    left = []
    for _ in range(3):
        train_a_model()
        tf.keras.backend.clear_session()
        free_left_graphs()
        left.append(graphs())
    assert left[1] == left[2], left


def test_what_can_still_be_called_works_afterwards():
    variable = tf.Variable(2.0)

    @tf.function
    def branch(x):
        return x * variable if x > 0 else x - variable

    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    model.fit(tf.ones([8, 2]), tf.ones([8, 1]), verbose=0)
    data = iter(tf.data.Dataset.range(5).map(lambda number: number + 1))
    assert [float(branch(tf.constant(1.0))), int(next(data))] == [2.0, 1]
    concrete = branch.get_concrete_function(tf.TensorSpec([], tf.float32))
    train_a_model()
    free_left_graphs()
    assert [float(branch(tf.constant(-1.0))), int(next(data))] == [-3.0, 2]
    assert float(concrete(tf.constant(3.0))) == 6.0
    with tf.GradientTape() as tape:
        value = branch(tf.constant(4.0))
    assert float(tape.gradient(value, variable)) == 4.0
    model.fit(tf.ones([8, 2]), tf.ones([8, 1]), verbose=0)


def test_who_has_frozen_what_is_there_keeps_it_so():
    gc.freeze()
    before = gc.get_freeze_count()
    with settled():
        assert gc.get_freeze_count() == before
    assert gc.get_freeze_count() == before > 0
