"""PercentDelta: a layer's learning rate from how large its gradients are beside its weights (Abu-El-Haija 2017)."""

from __future__ import annotations

import tensorflow as tf

from tflbt import checks
from tflbt.optimizers import trust_ratio
from tflbt.optimizers.base import wide_dtype
from tflbt.optimizers.momentum_step import decayed
from tflbt.optimizers.radius import RadiusOptimizer, floored


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
class PercentDelta(RadiusOptimizer):
    r"""Momentum SGD that moves the weights of each variable by $\gamma$ of themselves, on average.

    For each variable w of n numbers with gradient g, weight decay b, G = g + b w, momentum m:

    $$R = \frac{n}{\| G / w \|_1} = \Big(\frac1n \sum_i \frac{|G_i|}{|w_i|}\Big)^{-1}, \quad
    v \leftarrow m v + \gamma R G, \quad w \leftarrow w - v$$

    This is the harmonic mean of the radii $|w_i / G_i|$ of eq. 17, where LARS takes a ratio of means. One weight near
    zero would make it zero (eq. 18), so a weight counts as at least `floor` times the root mean square of its layer.
    A layer of zero weights or without gradient has the radius 1 (eqs. 18 and 19). R is the same for c w and c g.

    Args:
        learning_rate: $\gamma$, a float, at least 0, default 0.01, or a Keras schedule (updates).
        momentum: m, in [0, 1), default 0.9.
        nesterov: Look ahead by one momentum step, default False.
        weight_decay: b, at least 0, default 0.
        floor: In [0, 1), default 0.1, below which lie 8% of a normal layer's weights; 0 is the paper's rule.
        ratio_bounds: (lowest, highest) for R, default None. What bites is counted (`bounded_share`).
        exclude_from_weight_decay: Regular expressions searched for in variable paths, or the roles "bias" and "norm";
            default none.
        exclude_from_adaptation: Likewise; the radius of these is 1. An independent list.
        name: Of the optimizer.
        **kwargs: Of every Keras optimizer: `clipnorm`, `global_clipnorm`, `use_ema`, `jit_compile`, ...

    Raises:
        ValueError: If an argument is out of its range.

    Source: eq. 24 of `curvature-radius.txt`.

    Example:
        >>> w = tf.Variable([1.0, -4.0])
        >>> optimizer = PercentDelta(learning_rate=0.1, momentum=0.0)
        >>> _ = optimizer.apply_gradients([(tf.constant([2.0, 8.0]), w)])
        >>> [round(float(weight), 4) for weight in w]  # both by a tenth of themselves
        [0.9, -4.4]
    """

    def radius(self, variable: tf.Variable, gradient: tf.Tensor, decay: float) -> tf.Tensor:
        """The layer's harmonic mean of radii, a scalar."""
        weights, gradient = (tf.cast(value, wide_dtype(variable)) for value in (variable, gradient))
        slopes = tf.abs(decayed(gradient, weights, decay))
        mean = tf.reduce_mean(slopes / floored(tf.abs(weights), self.floor))
        # Of zero weights there is no radius: a numerator of 0 says so.
        numerator = tf.cast(trust_ratio.norm(weights) > 0, tf.float32)
        return self.ratio(variable, tf.cast(mean, tf.float32), numerator)
