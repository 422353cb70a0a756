"""What the optimizers of curvature radii share: momentum SGD whose rate is gamma times a radius, and floors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.optimizers import trust_ratio
from tflbt.optimizers.base import wide_dtype
from tflbt.optimizers.momentum_step import MomentumOptimizer, momentum_step


class RadiusOptimizer(MomentumOptimizer):
    r"""Base class: $v \leftarrow m v + \gamma R (g + b w)$, $w \leftarrow w - v$ with a radius R of curvature.

    Close to a minimum at b, a parabola's radius of curvature is $R_i = |(w_i - b_i) / g_i|$ (eq. 16, slopes apart),
    and with b = 0 the ratio $|w_i / g_i|$ (eq. 17). That fails where $w_i \to 0$ (eq. 18) or $g_i \to 0$ (eq. 19).
    Subclasses differ in what they make of a layer's $w_i$ and $g_i$. Their remedies are the same:

    - within a layer, a number counts as at least `floor` times the layer's root mean square (`floored`);
    - where all the weights or all the gradients of a layer are zero, R is 1, and `ratio_bounds` hold
      (`tflbt.optimizers.trust_ratio`).

    The arguments are those of `PercentDelta`.

    Source: section 4 of `curvature-radius.txt` (Gao and Zhong 2020).
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float | None = 0.0,
        floor: float = 0.1,
        ratio_bounds: Sequence[checks.Measured] | None = None,
        exclude_from_weight_decay: Iterable[str] = (),
        exclude_from_adaptation: Iterable[str] = (),
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            name or type(self).__name__,
            learning_rate,
            weight_decay,
            ratio_bounds,
            exclude_from_weight_decay=exclude_from_weight_decay,
            exclude_from_adaptation=exclude_from_adaptation,
            momentum=momentum,
            nesterov=nesterov,
            **kwargs,
        )
        checks.number("floor", floor, at_least=0, less_than=1)
        self.floor = float(floor)

    def step(self, gradient: tf.Tensor, variable: tf.Variable) -> Any:
        """Takes one step on one variable."""
        # Of a sparse gradient's dense twin the shape is not known.
        gradient = tf.ensure_shape(gradient, variable.shape)
        decay = self.decay_of(variable)
        wide = wide_dtype(variable)
        rate = tf.cast(self.learning_rate, wide)
        if self.is_adapted(variable):
            rate = rate * tf.cast(self.radius(variable, gradient, decay), wide)
        return momentum_step(
            variable, self.buffer(variable), rate, gradient, decay, self.momentum, self.nesterov
        )

    def radius(self, variable: tf.Variable, gradient: tf.Tensor, decay: float) -> tf.Tensor:
        """R, for the layer or for each of its weights."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        config = super().get_config()
        del config["bound_on"]  # a radius has no norm of weights of its own to bound
        return {**config, "floor": self.floor}


def root_mean_square(tensor: tf.Tensor) -> tf.Tensor:
    """Root of the mean of squares, a float32 scalar."""
    return trust_ratio.norm(tensor) / math.sqrt(tensor.shape.num_elements())


def floored(magnitudes: tf.Tensor, floor: float) -> tf.Tensor:
    """Numbers, at least 0, none less than `floor` times their root mean square."""
    return tf.maximum(magnitudes, tf.cast(floor * root_mean_square(magnitudes), magnitudes.dtype))
