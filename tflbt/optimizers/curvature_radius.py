"""CBLR: a learning rate for each weight, from its radius of curvature (Gao and Zhong 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.optimizers import trust_ratio
from tflbt.optimizers.base import wide_dtype
from tflbt.optimizers.momentum_step import decayed
from tflbt.optimizers.radius import RadiusOptimizer, floored

METHODS = ("secant", "approximate")


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
class CurvatureRadius(RadiusOptimizer):
    r"""Momentum SGD whose learning rate is scaled for each weight by the radius of curvature of its loss curve.

    For each weight with gradient g of the loss, weight decay included (G = g + b w), momentum m:

    $$R_i = \frac{(1 + G_i^2)^{3/2}}{|h_i|}, \quad v_i \leftarrow m v_i + \gamma R_i G_i, \quad
    w_i \leftarrow w_i - v_i$$

    `method="secant"` estimates the second derivative $h_i$ from how far weight and gradient strayed from their own
    running means of late (exponential, `beta`; the first means are plain ones):

    $$|h_i| = \operatorname{sd}(G_i) / \operatorname{sd}(w_i)$$

    It is eq. 16 with the unknown $b_i$ taken away by the difference, and needs no second backward pass. Where the
    curvature is diagonal and constant it is exact from the second update on, and $\gamma R G$ is $\gamma$ times
    Newton's step; elsewhere it is the curvature along the path, other weights' moves included. It never comes close
    to zero by chance as a covariance does, and noise makes it too large, which is on the safe side. Differences of
    *successive* gradients did not do: under the noise of small batches rates fell to nothing (digits, batch 64, 0.01:
    32% and 15% accuracy with $|\Delta g \Delta w| / \Delta w^2$ and $|\Delta g| / |\Delta w|$, 96% with this). Until a
    layer has moved, $R_i$ is eq. 16 with $b_i = 0$. `method="approximate"` is eq. 17, $R_i = |w_i / G_i|$, always.

    Both fail where a numerator or denominator goes to zero (eqs. 18 and 19), and per weight nothing averages that out.
    So each of them (|w|, |G|, the deviations) counts as at least `floor` times its layer's root mean square; where a
    layer has nothing but zeros the radius is 1; and a slope counts as at most 1 in $1 + G^2$, which the paper takes
    to be "far less than 1": a steep slope would lengthen its own step by its cube.

    Args:
        learning_rate: $\gamma$, a float, at least 0, default 0.03, or a Keras schedule (updates). The share of Newton's
            step; with momentum it adds up to $\gamma / (1 - m)$. "approximate" wants about a tenth of it.
        momentum: m, in [0, 1), default 0.9.
        nesterov: Look ahead by one momentum step, default False.
        weight_decay: b, at least 0, default 0.
        method: "secant" (default; four more slots for each weight) or "approximate" (none).
        beta: Of the running means, in (0, 1), default 0.95.
        floor: In [0, 1), default 0.1.
        ratio_bounds: (lowest, highest) for each $R_i$, default None. `bounded_share` counts weights here.
        exclude_from_weight_decay: Regular expressions searched for in variable paths, or the roles "bias" and "norm";
            default none.
        exclude_from_adaptation: Likewise; the radius of these is 1. An independent list.
        name: Of the optimizer.
        **kwargs: Of every Keras optimizer: `clipnorm`, `global_clipnorm`, `use_ema`, `jit_compile`, ...

    Raises:
        ValueError: If an argument is out of its range.

    Source: eqs. 9-11, 16 and 17 of `curvature-radius.txt`; the estimate of $h_i$ is ours.

    Example:
        >>> w = tf.Variable([2e-4, 2e-4])
        >>> optimizer = CurvatureRadius(learning_rate=0.5, momentum=0.0)
        >>> for _ in range(3):  # halved each time, whatever the curvature
        ...     _ = optimizer.apply_gradients([(tf.constant([1.0, 5.0]) * w, w)])
        >>> [round(1e4 * float(weight), 2) for weight in w]
        [0.25, 0.25]
    """

    def __init__(
        self,
        learning_rate: Any = 0.03,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float | None = 0.0,
        method: str = "secant",
        beta: float = 0.95,
        floor: float = 0.1,
        ratio_bounds: Sequence[checks.Measured] | None = None,
        exclude_from_weight_decay: Iterable[str] = (),
        exclude_from_adaptation: Iterable[str] = (),
        name: str = "CurvatureRadius",
        **kwargs: Any,
    ) -> None:
        numbers = (learning_rate, momentum, nesterov, weight_decay, floor)
        exclusions = (exclude_from_weight_decay, exclude_from_adaptation)
        super().__init__(*numbers, ratio_bounds, *exclusions, name, **kwargs)
        checks.one_of("method", method, METHODS)
        # At 0, weights would never stray from the means.
        checks.number("beta", beta, more_than=0, less_than=1)
        self.method = method
        self.beta = float(beta)

    def create_slots(self, var_list: list[tf.Variable]) -> None:
        """Creates the momentum buffers, and means and variances of weights and gradients."""
        super().create_slots(var_list)
        if self.method != "secant":
            return
        self._means, self._slope_means, self._variances, self._slope_variances = (
            self.slots(var_list, name, wide=True)
            for name in ("mean", "slope_mean", "variance", "slope_variance")
        )
        # Not `iterations`: with a loss scale it advances without a step too.
        self._steps = [
            self.add_variable((), tf.int64, name=f"steps/{v.name.split(':')[0]}") for v in var_list
        ]

    def radius(self, variable: tf.Variable, gradient: tf.Tensor, decay: float) -> tf.Tensor:
        """Each weight's radius, a tensor like the variable."""
        weights, gradient = (tf.cast(value, wide_dtype(variable)) for value in (variable, gradient))
        gradient = decayed(gradient, weights, decay)
        distance, slope = tf.abs(weights), tf.abs(gradient)
        if self.method == "approximate":
            return self.ratio(variable, floored(slope, self.floor), floored(distance, self.floor))
        strayed, turned = self._deviations(variable, weights, gradient)
        moved = trust_ratio.norm(strayed) > 0
        steepness = (1.0 + tf.minimum(slope, 1.0) ** 2) ** 1.5
        distance = floored(tf.where(moved, strayed, distance), self.floor)
        slope = floored(tf.where(moved, turned, slope), self.floor)
        return self.ratio(variable, slope, steepness * distance)

    def _deviations(
        self, variable: tf.Variable, weights: tf.Tensor, gradient: tf.Tensor
    ) -> list[tf.Tensor]:
        """Standard deviations of weights and gradients around their running means."""
        steps, dtype = self.slot(self._steps, variable), weights.dtype
        share = tf.maximum(1.0 / (1.0 + tf.cast(steps, dtype)), tf.cast(1.0 - self.beta, dtype))
        steps.assign_add(1)
        return [
            _deviation(value, self.slot(means, variable), self.slot(variances, variable), share)
            for value, means, variances in (
                (weights, self._means, self._variances),
                (gradient, self._slope_means, self._slope_variances),
            )
        ]

    def ratio(
        self, variable: tf.Variable, update_norm: tf.Tensor, weight_norm: tf.Tensor | None = None
    ) -> tf.Tensor:
        """As for a layer, for each weight: what bounds bite on are weights."""
        if self.ratio_bounds is not None:
            bit = trust_ratio.is_bounded(weight_norm, update_norm, self.ratio_bounds)
            self._bounded.assign_add(tf.math.count_nonzero(bit))
            self._ratios.assign_add(tf.size(bit, tf.int64))
        return trust_ratio.trust_ratio(weight_norm, update_norm, self.ratio_bounds)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        return {**super().get_config(), "method": self.method, "beta": self.beta}


def _deviation(
    value: tf.Tensor, mean: tf.Variable, variance: tf.Variable, share: tf.Tensor
) -> tf.Tensor:
    """Takes a value into its running mean and variance with this share, and returns the standard deviation."""
    off = value - mean
    mean.assign_add(share * off)
    return tf.sqrt(variance.assign((1.0 - share) * (variance + share * off * off)))
