"""One step of momentum SGD with the learning rate inside the buffer, in as few passes as there are kernels for."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def momentum_step(
    variable: tf.Variable,
    buffer: tf.Variable | None,
    rate: tf.Tensor,
    gradient: tf.Tensor,
    decay: float,
    momentum: float,
    nesterov: bool,
) -> Any:
    r"""Takes the step $v \leftarrow m v + r (g + b w)$, $w \leftarrow w - v$; the buffer holds -v.

    With Nesterov's look-ahead $w \leftarrow w - (m v + r (g + b w))$.

    Args:
        variable: The weights w.
        buffer: Like the variable; None for plain SGD, m = 0.
        rate: r, a scalar or one number for each weight, in float32 or in the variable's dtype if that is wider.
        gradient: g, of the variable's shape and dtype.
        decay: b.
        momentum: m.
        nesterov: Whether to look ahead.

    Returns:
        The operation that ends it.

    Example:
        >>> w, buffer = tf.Variable([1.0]), tf.Variable([0.0])
        >>> for _ in range(2):
        ...     _ = momentum_step(w, buffer, tf.constant(0.1), tf.constant([1.0]), 0.0, 0.5, False)
        >>> float(w[0])  # 1 - 0.1 - (0.05 + 0.1)
        0.75
    """
    if buffer is None:
        return variable.assign_sub(scaled(rate, gradient, variable, decay), read_value=False)
    if rate.dtype == variable.dtype and rate.shape.rank == 0:
        return _fused(variable, buffer, rate, gradient, decay, momentum, nesterov)
    step = scaled(rate, gradient, variable, decay)
    return _fused(variable, buffer, tf.ones([], variable.dtype), step, 0.0, momentum, nesterov)


def _fused(
    variable: tf.Variable,
    buffer: tf.Variable,
    rate: tf.Tensor,
    gradient: tf.Tensor,
    decay: float,
    momentum: float,
    nesterov: bool,
) -> Any:
    """TensorFlow's fused kernel: m <- mu m - rate G, w <- w + m, in one pass.

    Without Nesterov the decay goes into the buffer beforehand (m <- m - rate b w / mu), which saves writing g + b w
    out: a tenth of the step's memory traffic.
    """
    if decay and not nesterov:
        tf.raw_ops.ResourceApplyGradientDescent(
            var=buffer.handle,
            alpha=rate * tf.cast(decay / momentum, variable.dtype),
            delta=variable.read_value(),
        )
    elif decay:
        gradient = decayed(gradient, variable, decay)
    return tf.raw_ops.ResourceApplyKerasMomentum(
        var=variable.handle,
        accum=buffer.handle,
        lr=rate,
        grad=gradient,
        momentum=tf.cast(momentum, variable.dtype),
        use_nesterov=nesterov,
    )


def scaled(
    factor: tf.Tensor, gradient: tf.Tensor, variable: tf.Variable, decay: float
) -> tf.Tensor:
    """Factor * (g + b w), worked out in the factor's dtype: the factor can be out of float16's range."""
    gradient, weights = (tf.cast(value, factor.dtype) for value in (gradient, variable))
    return tf.cast(factor * decayed(gradient, weights, decay), variable.dtype)


def decayed(gradient: tf.Tensor, weights: tf.Tensor, decay: float) -> tf.Tensor:
    """G + b w."""
    return gradient + tf.cast(decay, weights.dtype) * weights if decay else gradient
