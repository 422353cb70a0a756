"""Lanczos, trace and spectrum estimators on plain matrices whose eigenvalues are known."""

from __future__ import annotations

import numpy as np
import pytest

from tflbt.curvature.hutchinson import hutch_plus_plus, hutchinson
from tflbt.curvature.lanczos import Tridiagonal, lanczos
from tflbt.curvature.spectrum import SpectralDensity, lanczos_quadrature


def symmetric(eigenvalues, seed=0):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((len(eigenvalues),) * 2))
    return (q * eigenvalues @ q.T).astype("float32")


def start(size, seed=1):
    return np.random.default_rng(seed).standard_normal(size).astype("float32")


def times(matrix, count=None):
    def product(vector):
        if count is not None:
            count.append(1)
        return matrix @ vector

    return product


SPECTRUM = np.concatenate([np.linspace(-6, -5, 3), np.linspace(0, 4, 60), [5.9]])


@pytest.mark.parametrize(
    "which, truth", [("magnitude", [-6, 5.9]), ("largest", [5.9, 4]), ("smallest", [-6, -5.5])]
)
def test_finds_the_outer_eigenvalues_asked_for(which, truth):
    matrix = symmetric(SPECTRUM)
    pairs, products = lanczos(
        times(matrix), start(64), count=2, which=which, iterations=50, tolerance=1e-3
    )
    assert [pair.value for pair in pairs] == pytest.approx(truth, rel=1e-4)
    assert products < 50
    for pair in pairs:
        assert np.linalg.norm(pair.vector) == pytest.approx(1, abs=1e-5)
        residual = np.linalg.norm(matrix @ pair.vector - pair.value * pair.vector)
        assert residual == pytest.approx(pair.residual, rel=0.02, abs=1e-4)
        assert residual <= 1.1e-3 * abs(pair.value)


def test_takes_exactly_the_products_asked_for():
    count = []
    _, products = lanczos(times(symmetric(SPECTRUM), count), start(64), iterations=7)
    assert (len(count), products) == (7, 7)


def test_stays_orthogonal_where_plain_lanczos_repeats_eigenvalues():
    values = np.concatenate([np.linspace(0, 1, 99), [1000.0]])
    krylov = Tridiagonal(times(symmetric(values)), start(100), 100)
    while not krylov.full:
        krylov.extend()
    rows = krylov._basis[:100]
    assert abs(rows @ rows.T - np.eye(100)).max() < 1e-5
    found, _, _ = krylov.eigen()
    assert found == pytest.approx(values, abs=2e-3)


def test_used_up_space_goes_on_and_finds_multiple_eigenvalues():
    matrix = np.diag([2.0, 2.0, 2.0, -1.0, -1.0, 0.0]).astype("float32")
    pairs, products = lanczos(times(matrix), start(6), count=5, iterations=30)
    assert [pair.value for pair in pairs] == pytest.approx([2, 2, 2, -1, -1], abs=1e-5)
    assert products == 6
    vectors = np.stack([pair.vector for pair in pairs])
    assert abs(vectors @ vectors.T - np.eye(5)).max() < 1e-4


def test_one_eigenvector_as_start_is_done_at_once():
    matrix = symmetric(SPECTRUM)
    top = np.linalg.eigh(matrix)[1][:, 0]
    pairs, products = lanczos(times(matrix), top, iterations=30, tolerance=1e-3)
    assert (products, pairs[0].value) == (1, pytest.approx(-6, rel=1e-4))


def test_zero_and_nan_matrices_end_quietly():
    zero, _ = lanczos(np.zeros_like, start(9), iterations=5, tolerance=0.1)
    assert (zero[0].value, zero[0].residual) == (0.0, 0.0)
    pairs, products = lanczos(lambda v: v * np.nan, start(9), count=2, iterations=5)
    assert products == 1 and len(pairs) == 2
    assert all(np.isnan(pair.value) and np.isnan(pair.residual) for pair in pairs)


def test_needs_two_thirds_of_the_products_of_power_iteration():
    """To a residual of 1%, on a Hessian-like spectrum: a few outliers over a bulk."""
    values = np.concatenate([np.linspace(0, 0.5, 190), [1.0, 1.4, 1.8, 2.3, 3.0]])
    for seed in range(3):
        matrix, vector = symmetric(values, seed), start(195, seed)
        _, ours = lanczos(times(matrix), vector, iterations=100, tolerance=0.01)
        vector, plain, residual = vector / np.linalg.norm(vector), 0, 1.0
        while residual > 0.01:
            image, plain = matrix @ vector, plain + 1
            value = vector @ image
            residual = np.linalg.norm(image - value * vector) / abs(value)
            vector = image / np.linalg.norm(image)
        assert ours <= plain * 2 / 3


@pytest.mark.parametrize("estimate", [hutchinson, hutch_plus_plus])
def test_traces_are_right_within_their_standard_error(estimate):
    values = 50.0 / (1 + np.arange(80)) ** 1.5
    matrix = symmetric(values)
    results = [estimate(times(matrix), 80, 60, seed, "float32") for seed in range(40)]
    errors = np.array([result.trace for result in results]) - values.sum()
    claimed = np.mean([result.standard_error for result in results])
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(40)
    assert 0.6 < errors.std() / claimed < 1.6
    assert {result.products for result in results} == {60}


def test_hutch_plus_plus_is_far_more_exact_for_the_same_products():
    matrix = symmetric(50.0 / (1 + np.arange(80)) ** 1.5)
    plain, better = (
        np.mean([f(times(matrix), 80, 60, seed, "float32").standard_error for seed in range(5)])
        for f in (hutchinson, hutch_plus_plus)
    )
    assert better < plain / 3


def test_traces_are_exact_where_the_whole_space_is_seen_or_the_matrix_is_diagonal():
    result = hutch_plus_plus(lambda v: np.array([1.0, 5.0]) * v, 2, 9, 0, float)
    assert (result.trace, result.standard_error, result.products) == (pytest.approx(6), 0.0, 4)
    assert hutchinson(lambda v: np.array([1.0, 5.0]) * v, 2, 3, 0, float).trace == 6.0


def test_the_variance_of_hutchinson_is_that_of_the_formula():
    matrix = symmetric(np.linspace(-1, 3, 20))
    off = matrix - np.diag(np.diag(matrix))
    result = hutchinson(times(matrix), 20, 2000, 0, "float32")
    assert result.standard_error == pytest.approx(np.sqrt(2 * (off**2).sum() / 2000), rel=0.1)


def test_quadrature_has_the_moments_of_the_spectrum():
    matrix = symmetric(SPECTRUM)
    density = lanczos_quadrature(times(matrix), 64, 10, 200, 0, "float32")
    assert density.nodes.shape == density.weights.shape == (200, 10)
    assert density.weights.sum(axis=1) == pytest.approx(1, abs=1e-5)
    for power in (1, 2, 3):
        each = (density.weights * density.nodes**power).sum(axis=1)
        assert density.moment(power) == pytest.approx(
            (SPECTRUM**power).mean(), abs=4 * each.std() / np.sqrt(200)
        )


def test_quadrature_of_one_vector_is_exact_up_to_degree_2m_minus_1():
    matrix, vector = symmetric(SPECTRUM).astype(float), start(64).astype(float)
    krylov = Tridiagonal(times(matrix), vector, 4)
    while not krylov.full:
        krylov.extend()
    nodes, columns, _ = krylov.eigen()
    for power in range(8):
        truth = vector @ np.linalg.matrix_power(matrix, power) @ vector / (vector @ vector)
        assert (columns[0] ** 2) @ nodes**power == pytest.approx(truth, rel=1e-9)


def test_smooth_density_is_where_the_eigenvalues_are():
    density = SpectralDensity(np.array([[0.0, 4.0]]), np.array([[0.75, 0.25]]), 8)
    grid, heights = density.smooth(np.linspace(-2, 6, 801), width=0.5)
    assert heights[200] == pytest.approx(0.75 / (0.5 * np.sqrt(2 * np.pi)), rel=1e-6)
    assert (heights * 0.01).sum() == pytest.approx(1, abs=1e-3)
    assert len(density.smooth()[0]) == 400
    with pytest.raises(ValueError, match=r"width=0"):
        density.smooth(width=0)
    same = SpectralDensity(np.array([[2.0]]), np.array([[1.0]]), 1)
    assert np.isfinite(same.smooth()[1]).all()


@pytest.mark.parametrize(("count", "iterations"), [(5, 35), (2, 20), (10, 60)])
def test_a_multiple_eigenvalue_is_found_as_often_as_it_is_there(count, iterations):
    """A softmax head at zero has each eigenvalue of the inputs' second moments nine times."""
    inputs = np.random.default_rng(0).normal(size=(300, 40)) * np.linspace(1, 3, 40)
    p = np.full(10, 0.1)
    matrix = np.kron(inputs.T @ inputs / 300, np.diag(p) - np.outer(p, p)).astype("float32")
    truth = np.linalg.eigvalsh(matrix)[::-1]
    pairs, _ = lanczos(times(matrix), start(400), count=count, iterations=iterations)
    sure = [pair.value for pair in pairs if pair.is_sure and pair.has_converged(1e-2)]
    assert len(sure) > count // 2
    assert sure == pytest.approx(truth[: len(sure)], rel=2e-3)
