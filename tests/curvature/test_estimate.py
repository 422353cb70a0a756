"""`top_eigenvalue` on models: against the dense Hessian, and its contract."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.curvature import EigenResult, top_eigenvalue
from tflbt.curvature.block import block_of
from tflbt.curvature.samples import MeasuredSamples


def state(model):
    return [variable.numpy().tobytes() for variable in model.variables]


def test_against_the_dense_hessian(case, dense_top):
    model, x, y = case.build()
    layer = block_of(model, MeasuredSamples.of(x, y)).layers[-1]
    truth = dense_top(model, layer.trainable_variables, x, y)
    before = state(model)
    exact = top_eigenvalue(model, x, y, iterations=80, method="exact")
    # The other ways to a product must have the same eigenvector, where they then are at once.
    there = {"iterations": 3, "start_vector": exact.eigenvector}
    difference = top_eigenvalue(model, x, y, **there)
    assert exact.eigenvalue == pytest.approx(truth, rel=1e-4)
    assert difference.eigenvalue == pytest.approx(truth, rel=2e-3)
    assert difference.converged and exact.converged
    if case.name not in ("no_bias", "sigmoid", "mse", "custom", "softmax_activation"):
        # The layer by its name, in all graphs; those are that of sparse_from_logits.
        named = top_eigenvalue(model, x, y, method="exact", layers=layer.name, **there)
        assert named.converged and named.eigenvalue == pytest.approx(truth, rel=1e-4)
    assert state(model) == before


def test_ten_iterations_are_close(named_case, dense_top):
    model, x, y = named_case("sparse_from_logits").build(40)
    truth = dense_top(model, model.layers[-1].trainable_variables, x, y)
    assert top_eigenvalue(model, x, y).eigenvalue == pytest.approx(truth, rel=5e-3)


def test_all_layers_and_names(named_case, dense_top):
    model, x, y = named_case("custom").build()
    both = [model.layers[0].name, model.layers[3].name]
    chosen = model.layers[0].trainable_variables + model.layers[3].trainable_variables
    for layers, variables in (("all", model.trainable_variables), (both, chosen)):
        result = top_eigenvalue(
            model, x, y, layers=layers, method="exact", iterations=80, sub_batch_size=9
        )
        assert result.eigenvalue == pytest.approx(dense_top(model, variables, x, y), rel=1e-3)
        assert [part.shape for part in result.eigenvector] == [v.shape for v in variables]


@pytest.mark.parametrize("method", ["finite_difference", "exact"])
def test_a_negative_eigenvalue_keeps_its_sign(named_case, dense_top, method):
    model, x, y = named_case("mse").build()

    def concave(y_true, y_pred):
        return -tf.reduce_mean(tf.square(y_true - y_pred), -1)

    result = top_eigenvalue(model, x, y, loss=concave, method=method, iterations=30)
    plain = top_eigenvalue(model, x, y, method=method, iterations=30)
    assert result.eigenvalue < 0
    assert result.eigenvalue == pytest.approx(-plain.eigenvalue, rel=1e-4)
    waves = top_eigenvalue(
        model,
        x,
        y,
        loss=lambda t, p: tf.reduce_sum(tf.sin(3 * p), -1),
        method=method,
        iterations=60,
    )
    model.compile(loss=lambda t, p: tf.reduce_sum(tf.sin(3 * p), -1))
    truth = dense_top(model, model.layers[-1].trainable_variables, x, y)
    assert waves.eigenvalue == pytest.approx(truth, rel=5e-3)


@pytest.mark.parametrize("name", ["sparse_from_logits", "convolution", "subclassed_uncut"])
@pytest.mark.parametrize("method", ["finite_difference", "exact"])
def test_sub_batches_do_not_matter(named_case, name, method):
    model, x, y = named_case(name).build()
    options = {"method": method, "iterations": 3}
    whole = top_eigenvalue(model, x, y, **options).eigenvalue
    for size in (1, 5, 22, 1000):
        part = top_eigenvalue(model, x, y, sub_batch_size=size, **options).eigenvalue
        assert part == pytest.approx(whole, rel=5e-4)


def test_large_features_are_taken_in_chunks(named_case, monkeypatch):
    model, x, y = named_case("convolution").build()
    whole = top_eigenvalue(model, x, y).eigenvalue
    monkeypatch.setattr("tflbt.curvature.block.CHUNK_BYTES", 0)
    chunked = top_eigenvalue(model, x, y, sub_batch_size=4).eigenvalue
    assert chunked == pytest.approx(whole, rel=5e-4)


@pytest.mark.parametrize("name", ["sparse_from_logits", "subclassed_uncut"])
def test_weights_equal_repeated_samples(named_case, name):
    model, x, y = named_case(name).build()
    times = np.random.default_rng(0).integers(0, 4, len(x))
    repeated = top_eigenvalue(model, np.repeat(x, times, 0), np.repeat(y, times)).eigenvalue
    weighted = top_eigenvalue(model, x, y, sample_weight=times.astype("float32")).eigenvalue
    assert weighted * len(x) == pytest.approx(repeated * times.sum(), rel=2e-3)


def test_seeds_and_start_vectors(named_case):
    model, x, y = named_case("sparse_from_logits").build()
    first, same, other = (top_eigenvalue(model, x, y, iterations=3, seed=s) for s in (4, 4, 5))
    assert first.eigenvalue == same.eigenvalue != other.eigenvalue
    warm = top_eigenvalue(model, x, y, iterations=3, start_vector=first.eigenvector)
    assert warm.residual < first.residual
    done = top_eigenvalue(model, x, y, iterations=100, tolerance=1e-3)
    assert done.iterations < 100 and done.converged
    again = top_eigenvalue(model, x, y, tolerance=1e-2, start_vector=done.eigenvector)
    assert again.iterations == 1


def test_the_result_is_frozen(named_case):
    model, x, y = named_case("mse").build()
    result = top_eigenvalue(model, x, y, iterations=2)
    assert isinstance(result, EigenResult) and result.iterations == 2
    with pytest.raises(AttributeError):
        result.eigenvalue = 1.0


@pytest.mark.parametrize("name", ["sparse_from_logits", "subclassed_uncut"])
@pytest.mark.parametrize("method", ["finite_difference", "exact"])
def test_weights_survive_an_exception(named_case, name, method):
    model, x, y = named_case(name).build()
    before = state(model)
    top_eigenvalue(model, x, y)

    def explode(y_true, y_pred):
        wrong = tf.reduce_any(tf.math.is_finite(y_pred))
        with tf.control_dependencies([tf.debugging.Assert(~wrong, ["exploded"])]):
            return tf.reduce_sum(tf.square(y_pred), -1)

    with pytest.raises(tf.errors.InvalidArgumentError, match="exploded"):
        top_eigenvalue(model, x, y, loss=explode, method=method)
    assert state(model) == before
    assert top_eigenvalue(model, x, y).eigenvalue > 0


def test_an_interrupt_between_two_differences_restores(named_case, monkeypatch):
    model, x, y = named_case("subclassed_uncut").build()
    before = state(model)

    def interrupted(gradient, variables, values, vector, step):
        for variable in variables:
            variable.assign_add(tf.ones_like(variable))
        raise KeyboardInterrupt

    monkeypatch.setattr("tflbt.curvature.whole_model.central_difference", interrupted)
    with pytest.raises(KeyboardInterrupt):
        top_eigenvalue(model, x, y)
    assert state(model) == before


class Counting(tf.keras.layers.Layer):
    """A layer that counts its calls in a variable, in inference too."""

    def build(self, shape):
        """Make the counter."""
        self.calls = self.add_weight("calls", [], trainable=False, initializer="zeros")

    def call(self, inputs):
        """Count and pass on."""
        self.calls.assign_add(1.0)
        return inputs


@pytest.mark.parametrize("layers", ["output", "all"])
def test_a_layer_that_writes_in_inference_is_restored(layers):
    model = tf.keras.Sequential([Counting(input_shape=(6,)), tf.keras.layers.Dense(1)])
    model(np.ones((1, 6)))
    before = state(model)
    x, y = np.random.default_rng(0).standard_normal((8, 6)), np.zeros(8)
    top_eigenvalue(model, x, y, loss="mse", layers=layers, method="exact", sub_batch_size=3)
    assert state(model) == before


def test_a_stateful_recurrent_model_keeps_its_state():
    tensor = tf.keras.Input(batch_shape=(4, 3, 2))
    hidden = tf.keras.layers.GRU(3, stateful=True)(tensor)
    model = tf.keras.Model(tensor, tf.keras.layers.Dense(1)(hidden))
    x = np.random.default_rng(0).standard_normal((4, 3, 2)).astype("float32")
    model.predict(x, verbose=0)
    before = model.layers[1].states[0].numpy()
    result = top_eigenvalue(model, x, np.zeros(4), loss="mse", iterations=20)
    np.testing.assert_array_equal(model.layers[1].states[0], before)
    assert result.converged


def test_nan_comes_back_as_nan(named_case):
    model, x, y = named_case("mse").build()
    model.layers[-1].set_weights([np.full((5, 1), np.nan), np.zeros(1)])
    result = top_eigenvalue(model, x, y)
    assert np.isnan(result.eigenvalue) and not result.converged


def small():
    return tf.keras.Sequential([tf.keras.layers.Dense(4, input_shape=(6,), name="top")])


ERRORS = {
    "uncompiled": ({}, "compile"),
    "method": ({"method": "lanczos"}, "method='lanczos'"),
    "iterations": ({"iterations": 0}, "iterations=0"),
    "tolerance": ({"tolerance": -1.0}, "tolerance=-1.0"),
    "step": ({"step": 0.0}, "step=0.0"),
    "kinks": ({"layers": "all"}, "ReLU"),
    "kinks_named": ({"layers": ["top"]}, "exact"),
    "name": ({"layers": "nope", "method": "exact"}, r"no layer \['nope'\]"),
    "sub_batch_size": ({"sub_batch_size": 0}, "sub_batch_size=0"),
    "start_shape": ({"start_vector": [np.ones(3)]}, "start_vector has shapes"),
    "start_zero": ({"start_vector": [np.zeros((6, 4)), np.zeros(4)]}, "start_vector is zero"),
    "lengths": ({"sample_weight": np.ones(3)}, "sample_weight"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_the_argument(name):
    options, message = ERRORS[name]
    loss = None if name == "uncompiled" else "mse"
    with pytest.raises(ValueError, match=message):
        top_eigenvalue(small(), np.zeros((5, 6)), np.zeros((5, 4)), **{"loss": loss, **options})


def test_shapes_that_do_not_fit_the_model():
    with pytest.raises(ValueError, match="[Ss]hape|incompatible|[Dd]imension"):
        top_eigenvalue(small(), np.zeros((5, 7)), np.zeros((5, 4)), loss="mse")
    with pytest.raises(ValueError, match="[Ss]hape|incompatible|[Dd]imension"):
        top_eigenvalue(small(), np.zeros((5, 6)), np.zeros((5, 3)), loss="mse")


def test_a_model_that_is_not_built():
    model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="not built"):
        top_eigenvalue(model, np.zeros((5, 6)), np.zeros(5), loss="mse")
