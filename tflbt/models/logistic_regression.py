"""Logistic regression: one dense layer from samples of any shape to logits, a convex problem to try methods on."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tflbt import checks
from tflbt.models import parts
from tflbt.models.prepared import prepares

INITIAL_WEIGHTS = ("zeros", "glorot_uniform")


@prepares("weight_decay")
def logistic_regression(
    *,
    input_shape: Sequence[int] = (1, 1, 126),
    classes: int = 2,
    initial_weights: str = "zeros",
) -> tf.keras.Model:
    r"""Builds (multinomial) logistic regression, as `abs-absa.txt` trains it on mushrooms.

    Two classes have two logits, of which only the difference matters: with $w = w_1 - w_0$, $P(1 | x) = \sigma(w^T x)$.
    Gradient descent with rate $\eta$ moves w as far as one logit and a sigmoid would with rate $2 \eta$, and the
    largest Hessian eigenvalue is twice that of one logit. The paper, whose rate is 1.2, does not say which it has.

    Args:
        input_shape: Of a sample: flat, or an image's. The default is a mushroom's (`tflbt.data.load`).
        classes: Number of logits, at least 1.
        initial_weights: "zeros", the usual start of a convex problem, which also makes runs differ by their
            samples alone; or "glorot_uniform".

    Returns:
        A functional model from samples to logits `[n, classes]`, float32 throughout, under mixed precision too.

    Raises:
        ValueError: If `initial_weights` is neither.

    Example:
        >>> from tflbt.models.logistic_regression import logistic_regression
        >>> logistic_regression().count_params()
        254
    """
    checks.one_of("initial_weights", initial_weights, INITIAL_WEIGHTS)
    inputs = tf.keras.Input(tuple(input_shape), name="samples")
    x = tf.keras.layers.Flatten(dtype="float32", name="flatten")(inputs)
    logits = parts.logits(x, classes, kernel_initializer=initial_weights)
    return tf.keras.Model(inputs, logits, name="logistic_regression")
