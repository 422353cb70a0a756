"""Functional models in two halves: the body runs once, whatever lies between it and the output."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from tflbt.curvature import top_eigenvalue
from tflbt.curvature.halves import Halves, Uncuttable, graph_of
from tflbt.curvature.selection import last_variables, variables_of

layers = tf.keras.layers


def noted(calls):
    """Build a layer that tells how many samples it is called with."""

    def note(x):
        calls.append(len(x))
        return x

    return layers.Lambda(
        lambda x: tf.ensure_shape(tf.numpy_function(note, [x], tf.float32), x.shape)
    )


def transfer(calls):
    """Build a new output layer on a functional model, as in transfer learning."""
    image = layers.Input((6,))
    hidden = layers.Dense(5, "relu")(noted(calls)(image))
    base = tf.keras.Model(image, layers.BatchNormalization()(hidden))
    vector = layers.Input((6,))
    features = layers.Dropout(0.3)(base(vector, training=False))
    return tf.keras.Model(vector, layers.Dense(3, "softmax", name="top")(features))


def tail(calls):
    """Build a model whose output layer lies in a Sequential model inside a functional one."""
    end = tf.keras.Sequential([layers.Dense(4, "tanh"), layers.Dense(3, name="top")])
    vector = layers.Input((6,))
    middle = tf.keras.Model(vector, end(layers.Dense(5, "relu")(noted(calls)(vector))))
    outside = layers.Input((6,))
    return tf.keras.Model(outside, tf.nn.softmax(middle(outside) * 2.0))


def long_skip(calls):
    """Build a model with a path around its output layer that starts layers before."""
    vector = layers.Input((6,))
    first = layers.Dense(5, "relu")(noted(calls)(vector))
    side = layers.Dense(3, "tanh", name="side")(first)
    main = layers.Dense(3, name="top")(layers.Dense(4, "relu")(first))
    return tf.keras.Model(vector, layers.Softmax()(layers.Add()([side, main])))


def shared(calls):
    """Build a model that calls its last layers twice, one inside a model that is shared."""
    half = tf.keras.Sequential([layers.Dense(4, "tanh", input_shape=(3,))])
    vector = layers.Input((6,))
    noted_vector = noted(calls)(vector)
    both = layers.Concatenate()([half(noted_vector[:, :3]), half(noted_vector[:, 3:])])
    top = layers.Dense(8, "tanh", name="top")
    return tf.keras.Model(vector, layers.Softmax()(top(top(both))[:, :3]))


MODELS = {"transfer": transfer, "tail": tail, "long_skip": long_skip, "shared": shared}


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((20, 6)).astype("float32"), rng.integers(0, 3, 20)


@pytest.mark.parametrize("method", ["finite_difference", "exact"])
@pytest.mark.parametrize("name", MODELS)
def test_the_body_runs_once_and_the_eigenvalue_is_right(name, method, dense_top):
    calls: list[int] = []
    tf.keras.utils.set_random_seed(1)
    model, (x, y) = MODELS[name](calls), data()
    model.compile(loss="sparse_categorical_crossentropy")
    nodes = [len(layer.inbound_nodes) for layer in model.layers]
    calls.clear()
    result = top_eigenvalue(model, x, y, method=method, iterations=40, sub_batch_size=8)
    assert calls == [8, 8, 4]
    assert [len(layer.inbound_nodes) for layer in model.layers] == nodes
    truth = dense_top(model, variables_of(model, "top"), x, y)
    assert result.eigenvalue == pytest.approx(truth, rel=2e-3)


def test_layers_are_called_in_the_order_in_which_keras_runs_them():
    vector = layers.Input((6,))
    hidden = layers.Dense(5, name="hidden")(vector)
    a, b = layers.Dense(3, name="a")(hidden), layers.Dense(1, name="b")(hidden)
    graph = graph_of(tf.keras.Model(vector, {"a": a, "b": b}))
    assert [layer.name for layer in graph.layers] == ["hidden", "b", "a"]


def test_what_the_head_needs_is_a_feature():
    model = long_skip([])
    graph = graph_of(model)
    halves = Halves(model, graph, last_variables(graph.layers, 1))
    assert [spec.shape.as_list() for spec in halves.specs()] == [[None, 4], [None, 3]]
    assert [layer.name for layer in halves.layers] == ["top"]
    assert not halves.saves_nothing
    assert Halves(model, graph, model.trainable_variables[:2]).saves_nothing is False
    assert len(halves.block_inputs([tf.zeros([1, 4]), tf.zeros([1, 3])])) == 1


def test_a_mask_at_the_cut_is_refused():
    tokens = layers.Input((7,), dtype="int32")
    read = layers.Embedding(9, 3, mask_zero=True)(tokens)
    model = tf.keras.Model(tokens, layers.Dense(4)(layers.GRU(5)(read)))
    graph = graph_of(model)
    assert Halves(model, graph, last_variables(graph.layers, 1)).layers == model.layers[-1:]
    with pytest.raises(Uncuttable, match="mask"):
        Halves(model, graph, last_variables(graph.layers, 2))


class Custom(tf.keras.Model):
    """A functional model by its arguments whose class calls its layers in another way."""

    def call(self, inputs, training=False):
        """Double the outputs."""
        return 2.0 * super().call(inputs, training=training)


class Subclassed(tf.keras.Model):
    """A model that makes its layers in another order than it calls them."""

    def __init__(self):
        """Make the layers."""
        super().__init__()
        self.top = layers.Dense(3, "softmax")
        self.hidden = layers.Dense(5, "tanh")

    def call(self, inputs):
        """Return probabilities."""
        return self.top(self.hidden(inputs))


def test_a_call_of_its_own_is_no_graph(dense_top):
    vector = layers.Input((6,))
    model, (x, y) = Custom(vector, layers.Dense(3)(layers.Dense(5)(vector))), data()
    with pytest.raises(Uncuttable, match="`call` of its own"):
        graph_of(model)
    outer = tf.keras.Model(vector, layers.Softmax()(model(vector)))
    assert [type(layer) for layer in graph_of(outer).layers] == [Custom, layers.Softmax]
    outer.compile(loss="sparse_categorical_crossentropy")
    for net in (model, outer):
        net.compile(loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=net is model))
        result = top_eigenvalue(net, x, y, method="exact", iterations=40)
        truth = dense_top(net, net.trainable_variables[2:], x, y)
        assert result.eigenvalue == pytest.approx(truth, rel=1e-3)


def test_a_subclassed_model_s_output_layer_is_the_one_called_last(dense_top):
    model, (x, y) = Subclassed(), data()
    model.compile(loss="sparse_categorical_crossentropy")
    model(x)
    result = top_eigenvalue(model, x, y, iterations=40)
    truth = dense_top(model, model.top.trainable_variables, x, y)
    assert result.eigenvalue == pytest.approx(truth, rel=2e-3)
    watch = weakref.ref(model)
    del model
    tf.keras.backend.clear_session()
    gc.collect()
    assert watch() is None
