"""Power iteration on plain matrices whose eigenvalues are known."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.curvature.power_iteration import power_iteration, power_loop


def symmetric(eigenvalues, seed=0):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((len(eigenvalues),) * 2))
    return (q * eigenvalues @ q.T).astype("float32"), q


def times(matrix, count=None):
    def matvec(vector):
        if count is not None:
            count.append(1)
        flat = tf.concat([tf.reshape(part, [-1]) for part in vector], 0)
        product = tf.linalg.matvec(matrix, flat)
        return [tf.reshape(product[:4], [2, 2]), product[4:]]

    return matvec


def start(size, seed=1):
    rng = np.random.default_rng(seed).standard_normal(size).astype("float32")
    return [tf.reshape(rng[:4], [2, 2]), tf.constant(rng[4:])]


SPECTRA = {
    "positive": np.linspace(0.1, 5, 30),
    "negative_dominates": np.concatenate([np.linspace(-6, -5, 3), np.linspace(0, 4, 20)]),
    "tiny": np.linspace(1e-8, 1e-6, 12),
    "huge": np.linspace(1e6, 1e8, 12),
    "one_direction": np.eye(1, 12)[0] * 3.0,
    "close_pair": np.concatenate([np.linspace(0, 1, 20), [1.999, 2.0]]),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_finds_the_largest_in_size_with_its_sign(name):
    values = SPECTRA[name]
    matrix, _ = symmetric(values)
    result = power_iteration(times(matrix), start(len(values)), iterations=60)
    assert result.eigenvalue == pytest.approx(values[np.argmax(np.abs(values))], rel=2e-4)
    assert result.converged


def test_residual_is_that_of_the_vector_returned():
    matrix, _ = symmetric(np.linspace(-1, 5, 40))
    result = power_iteration(times(matrix), start(40), iterations=6)
    vector = np.concatenate([part.ravel() for part in result.eigenvector])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert result.eigenvalue == pytest.approx(vector @ matrix @ vector, rel=1e-5)
    residual = np.linalg.norm(matrix @ vector - result.eigenvalue * vector)
    assert result.residual == pytest.approx(residual, rel=1e-3)
    assert min(abs(np.linalg.eigvalsh(matrix) - result.eigenvalue)) <= result.residual + 1e-5


def test_takes_exactly_the_products_asked_for():
    matrix, _ = symmetric(np.linspace(0, 5, 20))
    count = []
    result = power_iteration(times(matrix, count), start(20), iterations=7)
    assert (len(count), result.iterations) == (7, 7)
    one = power_iteration(times(matrix), start(20), iterations=1)
    first = np.concatenate([part.numpy().ravel() for part in start(20)])
    assert one.eigenvalue == pytest.approx(first @ matrix @ first / (first @ first), rel=1e-5)


def test_tolerance_stops_early_and_judges():
    matrix, _ = symmetric(np.linspace(0, 5, 40))
    loose = power_iteration(times(matrix), start(40), iterations=200, tolerance=0.05)
    tight = power_iteration(times(matrix), start(40), iterations=200, tolerance=1e-4)
    cut_off = power_iteration(times(matrix), start(40), iterations=3, tolerance=1e-4)
    assert loose.iterations < tight.iterations < 200
    assert loose.converged and loose.residual <= 0.05 * loose.eigenvalue
    assert tight.converged and not cut_off.converged


def test_never_worse_than_plain_power_iteration():
    for seed in range(5):
        matrix, _ = symmetric(np.linspace(0, 1, 50) ** 2 * 7, seed)
        vector = np.concatenate([part.numpy().ravel() for part in start(50, seed)])
        for _ in range(9):
            vector = matrix @ vector / np.linalg.norm(matrix @ vector)
        plain = vector @ matrix @ vector / (vector @ vector)
        ours = power_iteration(times(matrix), start(50, seed), iterations=10).eigenvalue
        assert plain <= ours <= 7 * (1 + 1e-5)
        assert 7 - ours < (7 - plain) / 2


def test_a_warm_start_is_done_at_once():
    matrix, vectors = symmetric(np.array([1.0, 2.0, 3.0, 4.0, 9.0, 0.5]))
    top = vectors[:, 4].astype("float32")
    parts = [tf.reshape(top[:4], [2, 2]), tf.constant(top[4:])]
    result = power_iteration(times(matrix), parts, iterations=10, tolerance=1e-3)
    assert (result.iterations, result.converged) == (1, True)


def test_zero_matrix_and_nan_end_quietly():
    zero = power_iteration(times(np.zeros((9, 9), "float32")), start(9), iterations=5)
    assert (zero.eigenvalue, zero.residual, zero.converged) == (0.0, 0.0, True)
    assert all(np.isfinite(part).all() for part in zero.eigenvector)
    nan = power_iteration(times(np.full((9, 9), np.nan, "float32")), start(9), iterations=5)
    assert np.isnan(nan.eigenvalue) and not nan.converged


def test_hundreds_of_iterations_do_not_drift():
    matrix, _ = symmetric(np.linspace(0, 5, 30))
    result = power_iteration(times(matrix), start(30), iterations=200)
    assert result.eigenvalue == pytest.approx(5, rel=1e-5)
    assert result.residual < 1e-4


def test_the_same_inside_a_function():
    matrix, _ = symmetric(np.linspace(-3, 5, 30))
    eager = power_iteration(times(matrix), start(30), iterations=10)
    compiled = tf.function(lambda n: power_loop(times(matrix), start(30), n, -1.0))
    _, value, residual, done = compiled(tf.constant(10))
    assert float(value) == pytest.approx(eager.eigenvalue, rel=1e-5)
    assert float(residual) == pytest.approx(eager.residual, rel=1e-2)
    assert int(done) == 10
