"""The Hessian of softmax cross-entropy over a dense layer, in closed form: the tests' oracle."""

from __future__ import annotations

import numpy as np


def dense_softmax_product(
    features: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    vector: tuple[np.ndarray, np.ndarray],
    sample_weight: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Multiply the layer's Hessian by a vector without differentiating anything.

    With :math:`p_i` the softmax of :math:`x_i W + b` and a bias read as a feature that is 1,

    .. math:: H V = \frac1N X^\top R, \qquad
        R_i = s_i (\operatorname{diag} p_i - p_i p_i^\top)\,(x_i V).

    The labels do not enter. In float64 it is right to 15 digits, also when every p is near 0 or 1.

    Args:
        features: The layer's inputs X, shape ``[samples, width]``.
        kernel: W, shape ``[width, classes]``.
        bias: b, shape ``[classes]``; zeros for a layer without one.
        vector: The direction (V, its bias part), shaped like ``(kernel, bias)``.
        sample_weight: s, shape ``[samples]``; default None: all 1. The sum is divided by the number
            of samples, not by the sum of s, as Keras does.

    Returns:
        The product, shaped like ``(kernel, bias)``.

    Example:
        >>> hv = dense_softmax_product(np.ones((1, 1)), np.zeros((1, 2)), np.zeros(2),
        ...                            (np.array([[1.0, 0.0]]), np.zeros(2)))
        >>> hv[0].tolist()
        [[0.25, -0.25]]

    Source: Böhning, "Multinomial logistic regression algorithm" (1992).
    """
    logits = features @ kernel + bias
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    share = shifted / shifted.sum(axis=1, keepdims=True)
    change = features @ vector[0] + vector[1]
    response = share * (change - (share * change).sum(axis=1, keepdims=True))
    if sample_weight is not None:
        response = response * sample_weight[:, None]
    count = len(features)
    return features.T @ response / count, response.sum(axis=0) / count
