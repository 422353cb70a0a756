"""Every public function against closed forms and dense Hessians."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.curvature import (
    hessian_vector_product,
    spectral_density,
    top_eigenvalue,
    top_eigenvalues,
    trace,
)

layers = tf.keras.layers


def check(model, x, y, truth, which=("magnitude", "largest", "smallest"), **options):
    """Hold every function against a dense Hessian over flat weights, kernel before bias."""
    values, weights = np.linalg.eigvalsh(truth), len(truth)
    order = {"magnitude": np.argsort(-abs(values)), "largest": np.argsort(-values)}
    order["smallest"] = order["largest"][::-1]
    size = float(abs(values).max())
    close = {"rel": 1e-3, "abs": 1e-4 * size}
    for name in which:
        options_ = dict(which=name, iterations=weights, **options)
        found = top_eigenvalues(model, x, y, min(3, weights), **options_)
        wanted = values[order[name]][: min(3, weights)]
        assert [result.eigenvalue for result in found] == pytest.approx(wanted, **close)
        one = top_eigenvalue(model, x, y, method="exact", solver="lanczos", **options_)
        assert one.eigenvalue == pytest.approx(wanted[0], **close)
        flat = np.concatenate([part.ravel() for part in one.eigenvector])
        assert np.linalg.norm(truth @ flat - one.eigenvalue * flat) < 2e-3 * size
    power = top_eigenvalue(model, x, y, method="exact", iterations=150, **options)
    assert power.eigenvalue == pytest.approx(values[order["magnitude"][0]], **close)
    exact = trace(model, x, y, products=3 * weights, **options)
    assert exact.trace == pytest.approx(values.sum(), **close)
    plain = trace(model, x, y, method="hutchinson", products=60, **options)
    assert abs(plain.trace - values.sum()) <= 4 * plain.standard_error + 1e-4 * size
    density = spectral_density(model, x, y, iterations=weights, probes=1, **options)
    assert density.nodes[0] == pytest.approx(values, abs=2e-3 * size)
    vector = [np.random.default_rng(0).standard_normal(p.shape) for p in one.eigenvector]
    image = hessian_vector_product(model, x, y, vector, **options)
    assert [part.shape for part in image] == [part.shape for part in vector]
    image, vector = (np.concatenate([p.ravel() for p in parts]) for parts in (image, vector))
    assert image == pytest.approx(truth @ vector, abs=2e-4 * size)


def with_ones(x):
    return np.concatenate([x, np.ones((len(x), 1))], 1)


def test_linear_least_squares():
    x = np.random.default_rng(0).standard_normal((30, 4)).astype("float32")
    model = tf.keras.Sequential([layers.Dense(1, input_shape=(4,))])
    model.compile(loss="mse")
    check(model, x, x[:, 0], 2 * with_ones(x).T @ with_ones(x) / 30)
    weight = np.linspace(0, 2, 30)
    weighted = 2 * with_ones(x).T @ (with_ones(x) * weight[:, None]) / 30
    check(model, x, x[:, 0], weighted, ["largest"], sample_weight=weight, sub_batch_size=7)


@pytest.mark.parametrize("chosen", ["output", "all"])
def test_logistic_regression(chosen):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((40, 5)).astype("float32"), rng.integers(0, 2, 40)
    model = tf.keras.Sequential([layers.Dense(1, input_shape=(5,))])
    model.set_weights([rng.standard_normal((5, 1)), np.array([0.3])])
    model.compile(loss=tf.keras.losses.BinaryCrossentropy(from_logits=True))
    p = 1 / (1 + np.exp(-model(x).numpy()))
    check(model, x, y, with_ones(x).T @ (with_ones(x) * p * (1 - p)) / 40, layers=chosen)


class Bowl(layers.Layer):
    """Half of w'Aw for every sample."""

    def __init__(self, matrix):
        """Keep A."""
        super().__init__()
        self.matrix = tf.constant(matrix, tf.float32)
        self.w = self.add_weight("w", [len(matrix)])

    def call(self, inputs):
        """Return one value a sample."""
        value = 0.5 * tf.tensordot(self.w, tf.linalg.matvec(self.matrix, self.w), 1)
        return value + 0.0 * inputs


def test_quadratic_bowl_with_negative_directions():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((9, 9))
    matrix = matrix + matrix.T
    model = tf.keras.Sequential([tf.keras.Input((1,)), Bowl(matrix)])
    options = {"layers": "all", "loss": lambda y, p: p}
    check(model, np.zeros((4, 1)), np.zeros(4), matrix, **options)
    results = top_eigenvalues(model, np.zeros((4, 1)), np.zeros(4), 9, **options)
    assert sum(result.eigenvalue for result in results) == pytest.approx(np.trace(matrix), abs=1e-3)
    basis = np.stack([result.eigenvector[0] for result in results])
    assert abs(basis @ basis.T - np.eye(9)).max() < 1e-4


@pytest.mark.parametrize(("size", "which"), [(None, ["magnitude", "smallest"]), (9, ["smallest"])])
def test_a_network_by_its_full_jacobian(dense, size, which):
    """Small, as the time grows with the number of weights."""
    tf.keras.utils.set_random_seed(1)
    hidden = [layers.Dense(3, "relu", input_shape=(3,)), layers.BatchNormalization()]
    model = tf.keras.Sequential([*hidden, layers.Dropout(0.3), layers.Dense(3)])
    model.compile(loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((23, 3)).astype("float32"), rng.integers(0, 3, 23)
    truth = dense(model, model.trainable_variables, x, y)
    check(model, x, y, truth, which, layers="all", sub_batch_size=size)


def test_warm_start_and_tolerance_of_lanczos(named_case):
    model, x, y = named_case("custom").build()
    options = dict(layers="all", method="exact", solver="lanczos", iterations=60)
    first = top_eigenvalue(model, x, y, tolerance=1e-3, **options)
    again = top_eigenvalue(model, x, y, tolerance=1e-2, start_vector=first.eigenvector, **options)
    assert first.converged and again.converged
    assert again.iterations == 1 < first.iterations < 60
    assert again.eigenvalue == pytest.approx(first.eigenvalue, rel=1e-4)
    short = top_eigenvalue(model, x, y, tolerance=1e-6, **{**options, "iterations": 2})
    assert short.iterations == 2 and not short.converged


def test_differences_by_lanczos(named_case):
    model, x, y = named_case("sparse_from_logits").build()
    difference = top_eigenvalue(model, x, y, solver="lanczos", iterations=24)
    exact = top_eigenvalue(model, x, y, solver="lanczos", iterations=24, method="exact")
    assert difference.eigenvalue == pytest.approx(exact.eigenvalue, rel=1e-3)


def linear():
    model = tf.keras.Sequential([layers.Dense(1, input_shape=(2,), name="top")])
    model.compile(loss="mse")
    return model


DATA = np.ones((5, 2)), np.zeros(5)
ERRORS = {
    "solver": (lambda m: top_eigenvalue(m, *DATA, solver="qr"), "solver='qr'"),
    "which": (lambda m: top_eigenvalue(m, *DATA, which="top"), "which='top'"),
    "power": (lambda m: top_eigenvalue(m, *DATA, which="smallest"), 'needs solver="lanczos"'),
    "k": (lambda m: top_eigenvalues(m, *DATA, 0), "k=0"),
    "k_many": (lambda m: top_eigenvalues(m, *DATA, 4), "k=4: the layers chosen have 3 weights"),
    "k_short": (lambda m: top_eigenvalues(m, *DATA, 3, iterations=2), "iterations=2 .* k=3"),
    "method": (lambda m: trace(m, *DATA, method="exact"), "method='exact'"),
    "products": (lambda m: trace(m, *DATA, products=3), "products=3"),
    "probes": (lambda m: spectral_density(m, *DATA, probes=0), "probes=0"),
    "steps": (lambda m: spectral_density(m, *DATA, iterations=0), "iterations=0"),
    "vector": (
        lambda m: hessian_vector_product(m, *DATA, [np.ones(2)]),
        r"vector has shapes \[\(2,\)\], the variables have \[\(2, 1\), \(1,\)\]",
    ),
    "layers": (lambda m: trace(m, *DATA, layers="nope"), r"no layer \['nope'\]"),
    "many_layers": (lambda m: trace(m, *DATA, layers="last_2"), 'give "last_1"'),
    "no_layers": (lambda m: trace(m, *DATA, layers="last_0"), "layers='last_0'"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_the_argument(name):
    call, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        call(linear())


def test_nan_stays_nan_everywhere():
    model = linear()
    model.compile(loss=lambda y, p: p * p * np.nan)
    for chosen in ("output", "all"):
        lanczos = top_eigenvalue(model, *DATA, layers=chosen, method="exact", solver="lanczos")
        power = top_eigenvalue(model, *DATA, layers=chosen, method="exact")
        several = top_eigenvalues(model, *DATA, 2, layers=chosen)
        for result in (lanczos, power, *several):
            assert np.isnan(result.eigenvalue) and not result.converged
        assert np.isnan(trace(model, *DATA, layers=chosen).trace)
        density = spectral_density(model, *DATA, layers=chosen)
        assert np.isnan(density.nodes).all() and np.isnan(density.smooth()[1]).all()
        vector = [np.ones((2, 1)), np.ones(1)]
        assert np.isnan(hessian_vector_product(model, *DATA, vector, layers=chosen)[0]).all()
