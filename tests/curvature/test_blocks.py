"""Blocks of layers: which weights they are, that the rest runs once, and what the products are."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.curvature import hessian_vector_product, top_eigenvalue, top_eigenvalues
from tflbt.curvature.block import block_of
from tflbt.curvature.samples import MeasuredSamples

layers = tf.keras.layers


def state(model):
    return [variable.numpy().tobytes() for variable in model.variables]


def names(block):
    return [layer.name for layer in block.layers]


CASES = ["sparse_from_logits", "convolution", "skip", "layers_after", "two_outputs"]


@pytest.mark.parametrize("name", [*CASES, "subclassed_uncut"])
def test_blocks_against_the_dense_hessian(named_case, dense, name):
    chosen = "last_2"
    model, x, y = named_case(name).build()
    before = state(model)
    block = block_of(model, MeasuredSamples.of(x, y), chosen)
    matrix = dense(model, block.variables, x, y)
    vector = [np.random.default_rng(3).standard_normal(v.shape) for v in block.variables]
    image = hessian_vector_product(model, x, y, vector, layers=chosen, sub_batch_size=9)
    flat, image = (np.concatenate([p.ravel() for p in parts]) for parts in (vector, image))
    assert image == pytest.approx(matrix @ flat, abs=2e-4 * abs(matrix @ flat).max())
    assert state(model) == before


def test_the_last_layers_are_those_with_a_kernel_in_the_order_called(named_case):
    model, x, y = named_case("convolution").build()
    samples = MeasuredSamples.of(x, y)
    assert names(block_of(model, samples, "last_1")) == ["classes"]
    assert names(block_of(model, samples, "last_2")) == [model.layers[1].name, "classes"]
    net, x, y = named_case("sparse_from_logits").build()
    block = block_of(net, MeasuredSamples.of(x, y), "last_2")
    assert names(block) == [net.layers[0].name, net.layers[3].name]
    assert [id(v) for v in block.variables] == [
        id(v) for v in [*net.layers[0].weights, *net.layers[3].weights]
    ]


def test_a_block_may_be_any_layers_and_part_of_a_nested_model(named_case, dense):
    model, x, y = named_case("nested").build()
    inner = model.layers[-1]
    for chosen, variables in (
        (inner.name, inner.trainable_variables),
        ([inner.layers[0].name], inner.layers[0].trainable_variables),
        ([model.layers[1].name, inner.layers[1].name], None),
    ):
        weights = variables or (
            model.layers[1].trainable_variables + inner.layers[1].trainable_variables
        )
        result = top_eigenvalues(model, x, y, 1, layers=chosen, iterations=40)[0]
        values = np.linalg.eigvalsh(dense(model, weights, x, y))
        assert result.eigenvalue == pytest.approx(values[np.argmax(abs(values))], rel=1e-3)
        assert [part.shape for part in result.eigenvector] == [v.shape for v in weights]


def watched(calls):
    """Build three dense layers, the first of which tells when it is called."""

    def note(x):
        calls.append(len(x))
        return x

    first = layers.Lambda(
        lambda x: tf.ensure_shape(tf.numpy_function(note, [x], tf.float32), x.shape)
    )
    stack = [layers.Dense(5, "tanh"), layers.Dense(4, "tanh", name="middle"), layers.Dense(3)]
    return tf.keras.Sequential([tf.keras.Input((6,)), first, *stack])


@pytest.mark.parametrize("chosen", ["output", "last_2", "middle"])
@pytest.mark.parametrize("solver", ["power", "lanczos"])
def test_the_rest_of_the_network_runs_once(chosen, solver):
    calls = []
    model, rng = watched(calls), np.random.default_rng(0)
    x, y = rng.standard_normal((20, 6)), rng.integers(0, 3, 20)
    options = dict(loss="sparse_categorical_crossentropy", method="exact", sub_batch_size=8)
    calls.clear()
    top_eigenvalue(model, x, y, layers=chosen, solver=solver, iterations=6, **options)
    assert calls == [8, 8, 4]


def test_the_whole_model_runs_forward_once_where_the_batch_fits():
    calls = []
    model, rng = watched(calls), np.random.default_rng(0)
    x, y = rng.standard_normal((20, 6)), rng.integers(0, 3, 20)
    options = dict(loss="sparse_categorical_crossentropy", method="exact", layers="all")
    calls.clear()
    once = top_eigenvalue(model, x, y, iterations=6, **options)
    assert calls == [20]
    again = top_eigenvalue(model, x, y, iterations=6, sub_batch_size=8, **options)
    assert calls == [20] + [8, 8, 4] * 6
    assert again.eigenvalue == pytest.approx(once.eigenvalue, rel=1e-4)


def test_a_block_that_starts_at_the_inputs_is_measured_whole_without_a_notice(caplog):
    model = tf.keras.Sequential([layers.Dense(4, "tanh", input_shape=(6,)), layers.Dense(3)])
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 6)), rng.standard_normal((12, 3))
    with caplog.at_level("WARNING", logger="absl"):
        block = top_eigenvalue(model, x, y, loss="mse", layers="last_2", method="exact")
        whole = top_eigenvalue(model, x, y, loss="mse", layers="all", method="exact")
    assert not caplog.records
    assert block_of(model, MeasuredSamples.of(x, y), "last_2").saves_nothing
    assert block.eigenvalue == pytest.approx(whole.eigenvalue, rel=1e-5)


class OwnWeight(tf.keras.Model):
    """A model with a weight that is no layer's."""

    def __init__(self):
        """Make the layers and the weight."""
        super().__init__()
        self.hidden = layers.Dense(4, "tanh", name="hidden")
        self.top = layers.Dense(3, name="top")
        self.scale = self.add_weight("scale", [4], initializer="ones")

    def call(self, inputs):
        """Scale the hidden layer."""
        return self.top(self.hidden(inputs) * self.scale)


def test_operations_after_the_block_fall_back_to_the_whole_model(caplog, dense):
    model, rng = OwnWeight(), np.random.default_rng(0)
    x, y = rng.standard_normal((12, 6)), rng.standard_normal((12, 3))
    model.compile(loss="mse")
    model(x)
    with caplog.at_level("WARNING", logger="absl"):
        result = top_eigenvalue(model, x, y, layers="hidden", method="exact", iterations=60)
        top_eigenvalue(model, x, y, layers="hidden", method="exact", iterations=1)
    notices = [record.getMessage() for record in caplog.records]
    assert len(notices) == 1 and "cannot be cut at 'hidden'" in notices[0]
    values = np.linalg.eigvalsh(dense(model, model.hidden.trainable_variables, x, y))
    assert result.eigenvalue == pytest.approx(values[np.argmax(abs(values))], rel=1e-3)
    top = top_eigenvalue(model, x, y, layers="top", method="exact", iterations=60)
    values = np.linalg.eigvalsh(dense(model, model.top.trainable_variables, x, y))
    assert top.eigenvalue == pytest.approx(values[np.argmax(abs(values))], rel=1e-3)
    assert top.converged
    everything = top_eigenvalue(model, x, y, layers="all", method="exact", iterations=60)
    assert len(everything.eigenvector) == 5


def test_blocks_are_compiled_once_each(named_case):
    model, x, y = named_case("nested").build()
    for chosen in ("last_2", "last_1", "output"):
        block = block_of(model, MeasuredSamples.of(x, y), chosen)
        first = top_eigenvalue(model, x, y, layers=chosen, method="exact", iterations=3)
        operator = block._operators["exact"][1]
        again = top_eigenvalue(model, x[:9], y[:9], layers=chosen, method="exact", iterations=5)
        assert block_of(model, MeasuredSamples.of(x, y), chosen) is block
        assert block._operators["exact"][1] is operator
        assert operator.product.experimental_get_tracing_count() == 1
        assert (first.iterations, again.iterations) == (3, 5)
