"""MCLR: a layer's learning rate from the medians of its weights and gradients (Gao and Zhong 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.optimizers import trust_ratio
from tflbt.optimizers.lars import DENOMINATORS
from tflbt.optimizers.median import median
from tflbt.optimizers.momentum_step import decayed
from tflbt.optimizers.radius import RadiusOptimizer, root_mean_square

STATISTICS = ("median", "l2")


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
class MedianCurvature(RadiusOptimizer):
    r"""Momentum SGD whose learning rate is scaled for each variable by its median radius of curvature.

    For each variable w with gradient g, weight decay b, momentum m:

    $$R_m = \frac{\operatorname{med} |w|}{\operatorname{med} |g| + b \operatorname{med} |w|}, \quad
    v \leftarrow m v + \gamma R_m (g + b w), \quad w \leftarrow w - v$$

    - "Median" is the lower median (of n numbers the one of rank (n - 1) // 2 from 0, PyTorch's) of *absolute* values,
      exact up to 524,288 of them and of every k-th one beyond (`tflbt.optimizers.median`). The paper's formula has the
      bars outside, but a layer's signed median is about 0, which is eq. 18.
    - Eq. 22 takes the medians of g and of w apart, and so does `denominator="separate"`;
      `denominator="decayed_gradient"` takes $\operatorname{med} |g + b w|$.
    - Eqs. 18 and 19: a median counts as at least `floor` times the root mean square of the same numbers, so a layer
      most of whose gradients are zero or tiny has no endless rate. A layer of nothing but zeros has the radius 1.
    - $R_m$ is the same for c w and c g, any c > 0.
    - With the l2 norm in the median's place (`statistic="l2"`) this is `LARS(trust_coefficient=1)` with the same
      denominator: LARS is the instance of this rule that the paper says it is (eq. 23).

    The paper itself saw it match LARS up to a batch of 8,192 (CIFAR-10) and does not recommend it beyond.

    Args:
        learning_rate: $\gamma$, a float, at least 0, default 0.01, or a Keras schedule (updates). The share of its
            size that a layer moves in an update.
        momentum: m, in [0, 1), default 0.9.
        nesterov: Look ahead by one momentum step, default False.
        weight_decay: b, at least 0, default 0.
        floor: In [0, 1), default 0.1 (the median of a normal layer is 0.67 times its root mean square); 0 is the
            paper's rule. Without meaning for "l2".
        statistic: "median" (default) or "l2".
        denominator: "separate" (default) or "decayed_gradient".
        ratio_bounds: (lowest, highest) for $R_m$, default None. What bites is counted (`bounded_share`).
        exclude_from_weight_decay: Regular expressions searched for in variable paths, or the roles "bias" and "norm";
            default none.
        exclude_from_adaptation: Likewise; the radius of these is 1. An independent list.
        name: Of the optimizer.
        **kwargs: Of every Keras optimizer: `clipnorm`, `global_clipnorm`, `use_ema`, `jit_compile`, ...

    Raises:
        ValueError: If an argument is out of its range.

    Source: eqs. 20-23 of `curvature-radius.txt`.

    Example:
        >>> w = tf.Variable([3.0, -4.0, 9.0])
        >>> optimizer = MedianCurvature(learning_rate=0.1, momentum=0.0)
        >>> _ = optimizer.apply_gradients([(tf.constant([0.0, 2.0, -8.0]), w)])
        >>> [round(float(weight), 4) for weight in w]  # R = 4 / 2
        [3.0, -4.4, 10.6]
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float | None = 0.0,
        floor: float = 0.1,
        statistic: str = "median",
        denominator: str = "separate",
        ratio_bounds: Sequence[checks.Measured] | None = None,
        exclude_from_weight_decay: Iterable[str] = (),
        exclude_from_adaptation: Iterable[str] = (),
        name: str = "MedianCurvature",
        **kwargs: Any,
    ) -> None:
        numbers = (learning_rate, momentum, nesterov, weight_decay, floor)
        exclusions = (exclude_from_weight_decay, exclude_from_adaptation)
        super().__init__(*numbers, ratio_bounds, *exclusions, name, **kwargs)
        checks.one_of("statistic", statistic, STATISTICS)
        checks.one_of("denominator", denominator, DENOMINATORS)
        self.statistic = statistic
        self.denominator = denominator

    def radius(self, variable: tf.Variable, gradient: tf.Tensor, decay: float) -> tf.Tensor:
        """The layer's median radius, a scalar."""
        weights = self._size(variable.read_value())
        if self.denominator == "separate":
            slopes = self._size(gradient) + decay * weights
        else:
            slopes = self._size(decayed(gradient, variable, decay))
        return self.ratio(variable, slopes, weights)

    def _size(self, tensor: tf.Tensor) -> tf.Tensor:
        """The statistic of a layer's weights or gradients."""
        if self.statistic == "l2":
            return trust_ratio.norm(tensor)
        return tf.maximum(median(tensor), self.floor * root_mean_square(tensor))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        ours = {"statistic": self.statistic, "denominator": self.denominator}
        return {**super().get_config(), **ours}
