"""LARS: layer-wise adaptive rate scaling (You et al. 2017, "Large Batch Training of Convolutional Networks")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.optimizers import trust_ratio

MOMENTUM_STYLES = ("lr_inside", "lr_outside")
DENOMINATORS = ("separate", "decayed_gradient")


@tf.keras.utils.register_keras_serializable(package="tflbt")
class LARS(tf.keras.optimizers.Optimizer):
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
      learning_rate: a float, at least 0, or a Keras schedule (updates). Rates do not carry over between trust
        coefficients, nor from SGD.
      momentum: in [0, 1), default 0.9.
      nesterov: look ahead by one momentum step, default False.
      weight_decay: b, at least 0, default 0; added to the gradient and counted in the ratio. Do not use it
        together with a layer's `kernel_regularizer`: weights would decay twice.
      trust_coefficient: $\eta$, positive, default 0.001 (MLPerf, Model Garden, optax, timm; the two-phase paper: 0.01
        on CIFAR, 0.001 on SVHN and ImageNet).
      epsilon: added to the denominator, at least 0, default 0.
      ratio_bounds: (lowest, highest) for $r / \eta$, default None (unbounded).
      momentum_style: "lr_inside" (default) or "lr_outside".
      exclude_from_weight_decay: regular expressions searched for in variable names; default none. Biases and
        BatchNorm's gamma and beta are usually excluded: `["bias", "gamma", "beta"]`.
      exclude_from_adaptation: likewise; the ratio of these is 1 and the coefficient does not apply, so they take
        plain momentum steps at the raw learning rate. An independent list; an empty one excludes nothing.
      denominator: "separate" (default) or "decayed_gradient".
      name: of the optimizer.
      **kwargs: of every Keras optimizer: `clipnorm`, `global_clipnorm`, `use_ema`, `jit_compile`, ...

    Raises:
      ValueError: if an argument is out of its range.

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
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        epsilon: float = 0.0,
        ratio_bounds: Sequence[float] | None = None,
        momentum_style: str = "lr_inside",
        exclude_from_weight_decay: Sequence[str] = (),
        exclude_from_adaptation: Sequence[str] = (),
        denominator: str = "separate",
        name: str = "LARS",
        **kwargs: Any,
    ) -> None:
        weight_decay = 0.0 if weight_decay is None else float(weight_decay)
        super().__init__(name=name, weight_decay=weight_decay, **kwargs)
        if isinstance(learning_rate, (int, float, np.number)) and not learning_rate >= 0:
            raise ValueError(f"learning_rate={learning_rate!r} must be at least 0.")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum!r} must be at least 0 and below 1.")
        for argument, value in (("weight_decay", weight_decay), ("epsilon", epsilon)):
            if not value >= 0:
                raise ValueError(f"{argument}={value!r} must be at least 0.")
        if not trust_coefficient > 0:
            raise ValueError(f"trust_coefficient={trust_coefficient!r} must be positive.")
        for argument, chosen, known in (
            ("momentum_style", momentum_style, MOMENTUM_STYLES),
            ("denominator", denominator, DENOMINATORS),
        ):
            if chosen not in known:
                raise ValueError(
                    f"{argument}={chosen!r} must be one of {', '.join(map(repr, known))}."
                )
        self._learning_rate = self._build_learning_rate(learning_rate)
        # Plain numbers, whatever was given: NumPy's do not go into JSON.
        self.momentum = float(momentum)
        self.nesterov = bool(nesterov)
        self.trust_coefficient = float(trust_coefficient)
        self.epsilon = float(epsilon)
        self.ratio_bounds = trust_ratio.check_bounds(ratio_bounds)
        self.momentum_style = momentum_style
        self.denominator = denominator
        self._adaptation_exclusions = trust_ratio.check_patterns(
            exclude_from_adaptation, "exclude_from_adaptation"
        )
        # Keras asks this list in `_use_weight_decay`, and its method of the same name as our argument adds to it.
        self._exclude_from_weight_decay_names = list(
            trust_ratio.check_patterns(exclude_from_weight_decay, "exclude_from_weight_decay")
        )

    def build(self, var_list: list[tf.Variable]) -> None:
        """Creates a momentum buffer for each variable."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self.momentums = []
        if self.momentum > 0:
            self.momentums = [self.add_variable_from_reference(v, "momentum") for v in var_list]
        self._built = True

    def _apply_weight_decay(self, variables: list[tf.Variable]) -> None:
        """Does nothing here: Keras would decay before the step, outside the ratio."""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Takes one step on one variable."""
        gradient = tf.convert_to_tensor(gradient)
        decay = self.weight_decay if self._use_weight_decay(variable) else 0.0
        wide = tf.float32 if variable.dtype.size < 4 else variable.dtype
        scale = tf.cast(self._scale(gradient, variable, decay), wide)
        rate = tf.cast(self.learning_rate, wide)
        if not self.momentums:
            variable.assign_sub(self._scaled(rate * scale, gradient, variable, decay))
            return
        momentum = self.momentums[self._index_dict[self._var_key(variable)]]
        if self.momentum_style == "lr_outside":
            step = self._scaled(scale, gradient, variable, decay)
            self._step_outside(variable, momentum, tf.cast(rate, variable.dtype), step)
        elif wide == variable.dtype:
            self._step_inside(variable, momentum, rate * scale, gradient, decay)
        else:
            step = self._scaled(rate * scale, gradient, variable, decay)
            self._step_inside(variable, momentum, tf.ones([], variable.dtype), step, 0.0)

    def _scale(self, gradient: tf.Tensor, variable: tf.Variable, decay: float) -> tf.Tensor:
        """Coefficient times trust ratio: what multiplies this variable's learning rate."""
        if trust_ratio.matches(self._adaptation_exclusions, variable):
            return tf.constant(1.0)
        weight_norm = trust_ratio.norm(variable)
        if self.denominator == "separate":
            update_norm = trust_ratio.norm(gradient) + decay * weight_norm
        else:
            update_norm = trust_ratio.norm(self._decayed(gradient, variable, decay))
        ratio = trust_ratio.trust_ratio(weight_norm, update_norm + self.epsilon, self.ratio_bounds)
        return self.trust_coefficient * ratio

    def _scaled(
        self, factor: tf.Tensor, gradient: tf.Tensor, variable: tf.Variable, decay: float
    ) -> tf.Tensor:
        """Factor * (g + b w), worked out in the factor's dtype: the factor can be out of float16's range."""
        gradient, weights = (tf.cast(value, factor.dtype) for value in (gradient, variable))
        return tf.cast(factor * self._decayed(gradient, weights, decay), variable.dtype)

    @staticmethod
    def _decayed(gradient: tf.Tensor, weights: tf.Tensor, decay: float) -> tf.Tensor:
        return gradient + tf.cast(decay, weights.dtype) * weights if decay else gradient

    def _step_inside(
        self,
        variable: tf.Variable,
        momentum: tf.Variable,
        rate: tf.Tensor,
        gradient: tf.Tensor,
        decay: float,
    ) -> None:
        """TensorFlow's fused kernel with rate * ratio as its rate: m <- mu m - rate G, w <- w + m, in one pass.

        The buffer holds -v. Without Nesterov the decay goes into the buffer beforehand (m <- m - rate b w / mu),
        which saves writing g + b w out: a tenth of the step's memory traffic.
        """
        if decay and not self.nesterov:
            tf.raw_ops.ResourceApplyGradientDescent(
                var=momentum.handle,
                alpha=rate * tf.cast(decay / self.momentum, variable.dtype),
                delta=variable.read_value(),
            )
        elif decay:
            gradient = self._decayed(gradient, variable, decay)
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=momentum.handle,
            lr=rate,
            grad=gradient,
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )

    def _step_outside(
        self, variable: tf.Variable, momentum: tf.Variable, rate: tf.Tensor, scaled: tf.Tensor
    ) -> None:
        """TensorFlow's fused kernel for the other style: v <- mu v + r G, w <- w - rate v."""
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=momentum.handle,
            lr=rate,
            grad=scaled,
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        rate = self._serialize_hyperparameter(self._learning_rate)
        return {
            **super().get_config(),
            "learning_rate": rate if isinstance(rate, dict) else float(rate),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "trust_coefficient": self.trust_coefficient,
            "epsilon": self.epsilon,
            "ratio_bounds": None if self.ratio_bounds is None else list(self.ratio_bounds),
            "momentum_style": self.momentum_style,
            "exclude_from_weight_decay": list(self._exclude_from_weight_decay_names),
            "exclude_from_adaptation": list(self._adaptation_exclusions),
            "denominator": self.denominator,
        }
