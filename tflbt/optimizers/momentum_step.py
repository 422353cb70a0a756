"""Momentum SGD with the learning rate inside the buffer: its buffers, and its step in as few passes as possible."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.optimizers.base import LayerWiseOptimizer


class MomentumOptimizer(LayerWiseOptimizer):
    """Base class of optimizers that keep a momentum buffer for each variable; without momentum there are none."""

    def __init__(self, *args: Any, momentum: float, nesterov: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        checks.number("momentum", momentum, at_least=0, less_than=1)
        # Plain numbers, because NumPy's do not go into JSON.
        self.momentum = float(momentum)
        self.nesterov = bool(nesterov)

    def create_slots(self, var_list: list[tf.Variable]) -> None:
        """Creates a momentum buffer for each variable."""
        super().create_slots(var_list)
        self.momentums = self.slots(var_list, "momentum") if self.momentum > 0 else []

    def buffer(self, variable: tf.Variable) -> tf.Variable | None:
        """The variable's momentum buffer; None without momentum."""
        return self.slot(self.momentums, variable) if self.momentums else None

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}


def momentum_step(
    variable: tf.Variable,
    buffer: tf.Variable | None,
    rate: tf.Tensor,
    gradient: tf.Tensor,
    decay: float,
    momentum: float,
    nesterov: bool,
) -> Any:
    r"""Takes the step $v \leftarrow m v + r (g + b w)$, $w \leftarrow w - v$; the buffer holds -v, or is None if m = 0.

    With Nesterov's look-ahead $w \leftarrow w - (m v + r (g + b w))$. The rate r is a scalar or one number for each
    weight, in float32 or in the variable's dtype if that is wider. Returns the operation that ends it.
    """
    if buffer is None:
        return variable.assign_sub(scaled(rate, gradient, variable, decay), read_value=False)
    if rate.dtype != variable.dtype or rate.shape.rank != 0:
        gradient, decay = scaled(rate, gradient, variable, decay), 0.0
        rate = tf.ones([], variable.dtype)
    # The fused kernel is m <- mu m - rate G, w <- w + m, in one pass. Without Nesterov the decay goes into the buffer
    # beforehand (m <- m - rate b w / mu), which saves writing g + b w out: a tenth of the step's memory traffic.
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
