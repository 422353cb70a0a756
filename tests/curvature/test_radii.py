"""Radii of curvature by equation 9: of a parabola in closed form, of a network against a dense Hessian's diagonal."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.optimizers.radius_oracles import lower_median
from tflbt.curvature import exact_radii

K = tf.keras
RNG = np.random.default_rng(0)
X = RNG.normal(size=(19, 3)).astype("float32")


def test_a_parabola_and_the_paper_s_approximation_of_its_radius():
    """For orthogonal inputs the loss is a parabola along each weight; for small slopes R is |(w - b) / g| (eq. 16)."""
    x = np.linalg.qr(X)[0].astype("float32")
    best = np.array([[0.4], [-0.3], [0.2]], "float32")
    model = K.Sequential([K.layers.Dense(1, use_bias=False, input_shape=(3,))])
    model.compile(loss="mse")
    for offset in (0.5, 1e-3):
        model.set_weights([best + offset])
        slope = 2 * offset / 19  # H = 2 / n
        (found,) = exact_radii(model, x, x @ best)
        np.testing.assert_allclose(found, (1 + slope**2) ** 1.5 / (2 / 19), rtol=1e-4)
    np.testing.assert_allclose(found, np.abs(offset / slope), rtol=1e-4)
    model.set_weights([best])
    (found,) = exact_radii(
        model, x, 0 * x[:, :1]
    )  # the minimum at b = 0: eq. 17, and the median of eq. 20
    slopes = 2 * best / 19
    np.testing.assert_allclose(found, np.abs(best / slopes) * (1 + slopes**2) ** 1.5, rtol=1e-4)
    assert np.median(found) == pytest.approx(
        lower_median(best, 0.0) / lower_median(slopes, 0.0), rel=2e-3
    )


@pytest.mark.parametrize("layers", ["output", "all"])
def test_a_network_against_its_dense_hessian(layers):
    K.utils.set_random_seed(0)
    model = K.Sequential([K.layers.Dense(2, "tanh", input_shape=(3,)), K.layers.Dense(1)])
    model.compile(loss="mse")
    y = RNG.normal(size=(19, 1)).astype("float32")
    variables = model.trainable_variables if layers == "all" else model.layers[-1].weights
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            loss = tf.reduce_mean((model(X) - y) ** 2)
        slopes = inner.gradient(loss, variables)
    for found, slope, variable in zip(
        exact_radii(model, X, y, layers=layers, sub_batch_size=8), slopes, variables, strict=True
    ):
        size = int(tf.size(slope))
        dense = tf.reshape(
            outer.jacobian(slope, variable, experimental_use_pfor=False), [size, size]
        )
        wanted = (1 + slope.numpy().ravel() ** 2) ** 1.5 / np.abs(np.diag(dense))
        np.testing.assert_allclose(found.ravel(), wanted, rtol=1e-3)
    with pytest.raises(ValueError, match=r"have \d+ weights, .* more than most=2"):
        exact_radii(model, X, y, layers=layers, most=2)
