"""LARS: layer-wise adaptive rate scaling (You et al. 2017, "Large Batch Training of Convolutional Networks")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.optimizers import trust_ratio
from tflbt.optimizers.base import wide_dtype
from tflbt.optimizers.momentum_step import MomentumOptimizer, decayed, momentum_step, scaled

MOMENTUM_STYLES = ("lr_inside", "lr_outside")
DENOMINATORS = ("separate", "decayed_gradient")


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
class LARS(MomentumOptimizer):
    r"""Momentum SGD whose learning rate is scaled for each variable by its trust ratio.

    For each variable w with gradient g, weight decay b, momentum m, learning rate $\lambda$:

    $$r = \eta \frac{\|w\|}{\|g\| + b\|w\| + \epsilon}, \quad v \leftarrow m v + \lambda r (g + b w),
    \quad w \leftarrow w - v$$

    (`momentum_style="lr_inside"`, the paper's and MLPerf's). With `"lr_outside"` the learning rate stays out of
    the buffer, $v \leftarrow m v + r(g + b w)$, $w \leftarrow w - \lambda v$, as in torchlars, apex and timm: the same
    at a constant learning rate, another trajectory under warm-up (1.55 times as far in ten steps) and after a decay.
    `denominator="decayed_gradient"` takes $\|g + b w\| + \epsilon$, as the TensorFlow Model Garden and optax do.
    Norms are l2, of one variable each, in float32. A zero norm makes the ratio 1 before the coefficient
    (`tflbt.optimizers.trust_ratio`). It is computed on the gradient as it arrives: reduced, unscaled, clipped.

    Args:
        learning_rate: A float, at least 0, or a Keras schedule (updates). Rates do not carry over between trust
            coefficients, nor from SGD.
        momentum: In [0, 1), default 0.9.
        nesterov: Look ahead by one momentum step, default False.
        weight_decay: b, at least 0, default 0; added to the gradient and counted in the ratio. Do not use it
            together with a layer's `kernel_regularizer`: weights would decay twice.
        trust_coefficient: $\eta$, positive, default 0.001 (MLPerf, Model Garden, optax, timm; the two-phase paper: 0.01
            on CIFAR, 0.001 on SVHN and ImageNet).
        epsilon: Added to the denominator, at least 0, default 0.
        ratio_bounds: (lowest, highest) for $r / \eta$, default None (unbounded).
        momentum_style: "lr_inside" (default) or "lr_outside".
        exclude_from_weight_decay: Regular expressions searched for in variable paths, or the roles "bias" and "norm";
            default none. Biases and BatchNorm's gamma and beta are usually excluded: `["bias", "norm"]`.
        exclude_from_adaptation: Likewise; the ratio of these is 1 and the coefficient does not apply, so they take
            plain momentum steps at the raw learning rate. An independent list; an empty one excludes nothing.
        denominator: "separate" (default) or "decayed_gradient".
        bound_on: What `ratio_bounds` clip: "ratio" (default) or "weight_norm".
        name: Of the optimizer.
        **kwargs: Of every Keras optimizer: `clipnorm`, `global_clipnorm`, `use_ema`, `jit_compile`, ...

    Raises:
        ValueError: If an argument is out of its range.

    Source: eq. 2 of `limit-of-the-batch-size.txt`.

    Example:
        >>> w = tf.Variable([3.0, 4.0])
        >>> optimizer = LARS(learning_rate=1.0, momentum=0.0, trust_coefficient=0.1)
        >>> _ = optimizer.apply_gradients([(tf.constant([0.0, 2.0]), w)])
        >>> w.numpy().tolist()  # r = 0.1 * 5 / 2
        [3.0, 3.5]
    """

    def __init__(
        self,
        learning_rate: Any = 0.1,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float | None = 0.0,
        trust_coefficient: float = 0.001,
        epsilon: float = 0.0,
        ratio_bounds: Sequence[checks.Measured] | None = None,
        momentum_style: str = "lr_inside",
        exclude_from_weight_decay: Iterable[str] = (),
        exclude_from_adaptation: Iterable[str] = (),
        denominator: str = "separate",
        bound_on: str = "ratio",
        name: str = "LARS",
        **kwargs: Any,
    ) -> None:
        bounds = (ratio_bounds, bound_on)
        exclusions = (exclude_from_weight_decay, exclude_from_adaptation)
        options = {"momentum": momentum, "nesterov": nesterov, **kwargs}
        super().__init__(name, learning_rate, weight_decay, *bounds, *exclusions, **options)
        checks.number("epsilon", epsilon, at_least=0)
        checks.number("trust_coefficient", trust_coefficient, more_than=0)
        checks.one_of("momentum_style", momentum_style, MOMENTUM_STYLES)
        checks.one_of("denominator", denominator, DENOMINATORS)
        self.trust_coefficient = float(trust_coefficient)
        self.epsilon = float(epsilon)
        self.momentum_style = momentum_style
        self.denominator = denominator

    def step(self, gradient: tf.Tensor, variable: tf.Variable) -> Any:
        """Takes one step on one variable."""
        decay = self.decay_of(variable)
        wide = wide_dtype(variable)
        scale = tf.cast(self._scale(gradient, variable, decay), wide)
        rate = tf.cast(self.learning_rate, wide)
        buffer = self.buffer(variable)
        if buffer is not None and self.momentum_style == "lr_outside":
            step = scaled(scale, gradient, variable, decay)
            return self._step_outside(variable, buffer, tf.cast(rate, variable.dtype), step)
        return momentum_step(
            variable, buffer, rate * scale, gradient, decay, self.momentum, self.nesterov
        )

    def _scale(self, gradient: tf.Tensor, variable: tf.Variable, decay: float) -> tf.Tensor:
        """Coefficient times trust ratio: what multiplies this variable's learning rate."""
        if not self.is_adapted(variable):
            return tf.constant(1.0)
        weight_norm = trust_ratio.norm(variable)
        if self.denominator == "separate":
            update_norm = trust_ratio.norm(gradient) + decay * weight_norm
        else:
            update_norm = trust_ratio.norm(decayed(gradient, variable, decay))
        return self.trust_coefficient * self.ratio(
            variable, update_norm + self.epsilon, weight_norm
        )

    def _step_outside(
        self, variable: tf.Variable, momentum: tf.Variable, rate: tf.Tensor, step: tf.Tensor
    ) -> Any:
        """TensorFlow's fused kernel for the other style: v <- mu v + r G, w <- w - rate v."""
        return tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=momentum.handle,
            lr=rate,
            grad=step,
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        return {
            **super().get_config(),
            "trust_coefficient": self.trust_coefficient,
            "epsilon": self.epsilon,
            "momentum_style": self.momentum_style,
            "denominator": self.denominator,
        }
