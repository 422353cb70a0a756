"""LAMB: layer-wise adaptive moments for large batches (You et al. 2019, "Training BERT in 76 minutes")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.optimizers import trust_ratio
from tflbt.optimizers.adam_update import adam_update, bias_corrections
from tflbt.optimizers.base import LayerWiseOptimizer, subtract


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
class LAMB(LayerWiseOptimizer):
    r"""Adam whose update, weight decay included, is scaled for each variable by its trust ratio.

    For each variable w with gradient g, weight decay b, learning rate $\lambda$, in update t = 1, 2, ...:

    $$m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2$$

    $$u = \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} + b w, \quad
    w \leftarrow w - \lambda \, r \, u, \quad r = \frac{\|w\|}{\|u\|}$$

    Norms are l2, of one variable each, in float32; a zero norm makes the ratio 1. It is TensorFlow Addons' rule (to
    1e-6 over ten steps), and optax's and timm's. Differences from others: Addons refuse `epsilon=0`, read an empty
    `exclude_from_layer_adaptation` as "the other list" and know no bounds; Keras 3's `Lamb` decays outside the
    ratio; DeepSpeed leaves the bias correction to the rate (`bias_correction=False` here); timm and apex do not
    adapt a variable whose decay is 0.

    Args:
        learning_rate: A float, at least 0, default 0.001, or a Keras schedule (updates). It is the share of its norm
            that an adapted variable moves in an update.
        beta_1: In [0, 1), default 0.9.
        beta_2: In [0, 1), default 0.999.
        epsilon: Positive, default 1e-6; outside of the bias correction.
        weight_decay: b, at least 0, default 0; part of the update and of its norm.
        ratio_bounds: (lowest, highest), default None. DeepSpeed and the first version of the paper: (0.01, 10).
        bound_on: What they clip: "ratio" (default), or "weight_norm" (the final paper's phi).
        exclude_from_weight_decay: Regular expressions searched for in variable paths, or the roles "bias" and "norm";
            default none.
        exclude_from_adaptation: Likewise; the ratio of these is 1: they take plain Adam steps. An independent list.
        bias_correction: Default True; False leaves out the divisions by $1 - \beta^t$.
        name: Of the optimizer.
        **kwargs: Of every Keras optimizer: `clipnorm`, `global_clipnorm`, `use_ema`, `jit_compile`, ...

    Raises:
        ValueError: If an argument is out of its range.

    Source: Algorithm 2 of You et al. 2019 (arXiv:1904.00962); `limit-of-the-batch-size.txt`, section 3.1, whose
    "Adam + layer-wise + bound-ratio" is this class with `ratio_bounds` and no weight decay.

    Example:
        >>> w = tf.Variable([3.0, 4.0])
        >>> optimizer = LAMB(learning_rate=0.1, epsilon=1e-12)
        >>> _ = optimizer.apply_gradients([(tf.constant([2.0, 2.0]), w)])
        >>> [round(float(moved), 4) for moved in w - [3.0, 4.0]]  # u = (1, 1): by 0.1 * 5 / sqrt(2)
        [-0.3536, -0.3536]
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: float | None = 0.0,
        ratio_bounds: Sequence[checks.Measured] | None = None,
        bound_on: str = "ratio",
        exclude_from_weight_decay: Iterable[str] = (),
        exclude_from_adaptation: Iterable[str] = (),
        bias_correction: bool = True,
        name: str = "LAMB",
        **kwargs: Any,
    ) -> None:
        bounds = (ratio_bounds, bound_on)
        exclusions = (exclude_from_weight_decay, exclude_from_adaptation)
        super().__init__(name, learning_rate, weight_decay, *bounds, *exclusions, **kwargs)
        checks.number("beta_1", beta_1, at_least=0, less_than=1)
        checks.number("beta_2", beta_2, at_least=0, less_than=1)
        checks.number("epsilon", epsilon, more_than=0)
        self.beta_1 = float(beta_1)
        self.beta_2 = float(beta_2)
        self.epsilon = float(epsilon)
        self.bias_correction = bool(bias_correction)

    def create_slots(self, var_list: list[tf.Variable]) -> None:
        """Creates both moments of each variable."""
        super().create_slots(var_list)
        self.momentums = self.slots(var_list, "m", wide=True)
        self.velocities = self.slots(var_list, "v", wide=True)

    def step(self, gradient: tf.Tensor, variable: tf.Variable) -> Any:
        """Takes one step on one variable."""
        betas = (self.beta_1, self.beta_2)
        m, v = self.slot(self.momentums, variable), self.slot(self.velocities, variable)
        step = self.iterations + 1 if self.bias_correction else None
        first, second = bias_corrections(betas, step, m.dtype)
        update = adam_update(
            gradient,
            variable,
            m,
            v,
            betas,
            scale=tf.sqrt(second) / first,
            epsilon_hat=self.epsilon * tf.sqrt(second),
            decay=self.decay_of(variable) or None,
        )
        rate = tf.cast(self.learning_rate, m.dtype)
        if self.is_adapted(variable):
            rate = rate * tf.cast(self.ratio(variable, trust_ratio.norm(update)), m.dtype)
        return subtract(variable, rate, update)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "bias_correction": self.bias_correction,
        }
