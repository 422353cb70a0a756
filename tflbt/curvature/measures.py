"""The trace of a Hessian, its spectrum, and its product with a vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.curvature.hessian_of import hessian_of
from tflbt.curvature.hutchinson import TraceResult, hutch_plus_plus, hutchinson
from tflbt.curvature.spectrum import SpectralDensity, lanczos_quadrature

#: Estimator and the fewest products it can do with.
_TRACES = {"hutchinson": (hutchinson, 2), "hutch++": (hutch_plus_plus, 4)}


@checks.arguments
def hessian_vector_product(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    vector: Sequence[np.ndarray],
    *,
    layers: str | Sequence[str] = "output",
    **options: Any,
) -> tuple[np.ndarray, ...]:
    r"""Multiply the Hessian of the model's loss by a vector, exactly, without forming it.

    $$H v = \nabla_w \big( \nabla_w F(w)^\top v \big)$$

    Samples, ranks, blocks and precision are treated as in `top_eigenvalue`.

    Args:
        model: Any built Keras model, compiled unless `loss` is given.
        x: Inputs, `[samples, ...]`.
        y: Targets, likewise.
        vector: v, one array per variable of `layers`, shaped like it; any length.
        layers: Default "output"; see `top_eigenvalue`.
        **options: `sample_weight`, `sub_batch_size`, `loss`, `reduction` and `regularization` of `top_eigenvalue`.

    Returns:
        Hv, shaped like `vector`; NaN where the samples yield NaN.

    Raises:
        ValueError: As `top_eigenvalue`, or shapes of `vector` that do not fit.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, input_shape=(2,))])
        >>> model.compile(loss="mse")
        >>> x = np.array([[2.0, 0.0], [0.0, 1.0]])               # H = diag(4, 1)
        >>> hessian_vector_product(model, x, np.zeros(2), [np.ones((2, 1))])[0].ravel().tolist()
        [4.0, 1.0]

    Source: Pearlmutter, "Fast exact multiplication by the Hessian" (1994).
    """
    with hessian_of(model, x, y, layers=layers, **options) as hessian:
        parts = [tf.constant(part) for part in hessian.checked("vector", vector)]
        return tuple(part.numpy() for part in hessian.matvec(parts))


@checks.arguments
def trace(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    *,
    layers: str | Sequence[str] = "output",
    method: str = "hutch++",
    products: int = 30,
    seed: int = 0,
    **options: Any,
) -> TraceResult:
    """Estimate the trace of the Hessian, with a standard error.

    Samples, ranks, blocks and precision are treated as in `top_eigenvalue`.

    Args:
        model: Any built Keras model, compiled unless `loss` is given.
        x: Inputs, `[samples, ...]`.
        y: Targets, likewise.
        layers: Default "output"; see `top_eigenvalue`.
        method: Default "hutch++": the large eigenvalues exactly, the rest by chance; it keeps two thirds of `products`
            vectors as large as the weights chosen. "hutchinson": all by chance; one vector of memory.
        products: Default 30. Hessian-vector products, at least 4 (2 for "hutchinson").
        seed: Default 0. Draws the probes, the same on every rank.
        **options: `sample_weight`, `sub_batch_size`, `loss`, `reduction` and `regularization` of `top_eigenvalue`.

    Returns:
        A `TraceResult`; NaN where the samples yield NaN.

    Raises:
        ValueError: As `top_eigenvalue`, or an unknown method, or too few products.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, input_shape=(2,))])
        >>> model.compile(loss="mse")
        >>> x = np.array([[2.0, 0.0], [0.0, 1.0]])
        >>> round(trace(model, x, np.zeros(2)).trace, 3)
        5.0

    Source: Hutchinson (1989); Meyer et al., "Hutch++" (2021).
    """
    if method not in _TRACES:
        raise ValueError(f"method={method!r} is unknown: give one of {tuple(_TRACES)}")
    estimate, least = _TRACES[method]
    if int(products) != products or products < least:
        raise ValueError(f"products={products!r} must be a whole number, {least} or more")
    with hessian_of(model, x, y, layers=layers, **options) as hessian:
        dtype = hessian.dtype.as_numpy_dtype
        return estimate(hessian.product, hessian.parameters, int(products), seed, dtype)


@checks.arguments
def spectral_density(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    *,
    layers: str | Sequence[str] = "output",
    iterations: int = 30,
    probes: int = 2,
    seed: int = 0,
    **options: Any,
) -> SpectralDensity:
    """Estimate how the Hessian's eigenvalues are spread, by stochastic Lanczos quadrature.

    Samples, ranks, blocks and precision are treated as in `top_eigenvalue`. It keeps `iterations` vectors as large as
    the weights chosen, one probe after the other.

    Args:
        model: Any built Keras model, compiled unless `loss` is given.
        x: Inputs, `[samples, ...]`.
        y: Targets, likewise.
        layers: Default "output"; see `top_eigenvalue`.
        iterations: Default 30. Products per probe, at least 1: how fine the picture is.
        probes: Default 2. Random start vectors, at least 1: how little chance there is in it.
        seed: Default 0. Draws them, the same on every rank.
        **options: `sample_weight`, `sub_batch_size`, `loss`, `reduction` and `regularization` of `top_eigenvalue`.

    Returns:
        A `SpectralDensity`: nodes and weights; its `smooth` draws it. NaN for NaN.

    Raises:
        ValueError: As `top_eigenvalue`, or `iterations` or `probes` below 1.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, input_shape=(2,))])
        >>> model.compile(loss="mse")
        >>> x = np.array([[2.0, 0.0], [0.0, 1.0]])
        >>> spectral_density(model, x, np.zeros(2), probes=1).nodes.round(3).tolist()
        [[1.0, 4.0]]

    Source: Ghorbani, Krishnan and Xiao (2019), section 2.
    """
    for name, value in (("iterations", iterations), ("probes", probes)):
        if int(value) != value or value < 1:
            raise ValueError(f"{name}={value!r} must be a whole number, 1 or more")
    with hessian_of(model, x, y, layers=layers, **options) as hessian:
        dtype = hessian.dtype.as_numpy_dtype
        return lanczos_quadrature(
            hessian.product, hessian.parameters, int(iterations), int(probes), seed, dtype
        )
