"""Adam's update, weight decay included, as a tensor: what LAMB and the layer-wise Adam scale by a trust ratio."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tflbt.optimizers.borrowed import run_on


def bias_corrections(
    betas: tuple[float, float], step: tf.Tensor | None, dtype: tf.DType = tf.float32
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""$1 - \beta_1^t$ and $1 - \beta_2^t$ as float64 scalars; about 1 each where `step` is None.

    The betas are first rounded to the moments' dtype, as the kernels hold them; worked out in float32, $1 - 0.999$
    would be off by 1e-5. Without a step that rounding alone is corrected.
    """
    rounded = [float(np.asarray(beta, dtype.as_numpy_dtype)) for beta in betas]
    if step is None:
        first, second = ((1 - near) / (1 - beta) for near, beta in zip(rounded, betas))
        return tf.constant(first, tf.float64), tf.constant(second, tf.float64)
    t = tf.cast(step, tf.float64)
    first, second = (1 - tf.pow(tf.constant(near, tf.float64), t) for near in rounded)
    return first, second


def adam_update(
    gradient: tf.Tensor,
    variable: tf.Variable,
    m: tf.Variable,
    v: tf.Variable,
    betas: tuple[float, float],
    scale: tf.Tensor,
    epsilon_hat: tf.Tensor,
    decay: float | tf.Tensor | None,
) -> tf.Tensor:
    r"""Advances both moments and returns the update, without touching the weights.

    $$m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
    u = s \frac{m}{\sqrt{v} + \hat\epsilon} + b w$$

    With $s = \sqrt{1 - \beta_2^t} / (1 - \beta_1^t)$ that is Adam's (the form just before section 2.1 of its paper);
    $\hat\epsilon = \epsilon \sqrt{1 - \beta_2^t}$ makes $\epsilon$ the one outside of the bias correction.

    The variable is lent to TensorFlow's fused kernel, which reads and writes seven times its size where the formula
    written out takes about thirty. A 16-bit one has moments in float32, as is u, and goes the long way.
    """
    dtype = m.dtype
    gradient = tf.cast(gradient, dtype)
    scale, epsilon_hat = tf.cast(scale, dtype), tf.cast(epsilon_hat, dtype)
    beta_1, beta_2 = (tf.constant(beta, dtype) for beta in betas)
    decayed = tf.zeros(variable.shape, dtype)
    if decay is not None:
        decayed = tf.cast(decay, dtype) * tf.cast(variable, dtype)
    if variable.dtype != dtype:
        new_m = m.assign_add((gradient - m) * (1 - beta_1), read_value=True)
        new_v = v.assign_add((tf.square(gradient) - v) * (1 - beta_2), read_value=True)
        return scale * new_m / (tf.sqrt(new_v) + epsilon_hat) + decayed
    return run_on(
        variable,
        decayed,
        lambda: tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=m.handle,
            v=v.handle,
            # The kernel corrects the bias in float32; ours is in `scale` already.
            beta1_power=tf.zeros([], dtype),
            beta2_power=tf.zeros([], dtype),
            lr=-scale,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon_hat,
            grad=gradient,
        ),
    )
