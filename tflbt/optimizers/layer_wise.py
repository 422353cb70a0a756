"""`LayerWise`: any Keras optimizer made layer-wise, its update scaled by a bounded trust ratio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.optimizers import inner_update, keras_slots, trust_ratio
from tflbt.optimizers.base import LayerWiseOptimizer, subtract, wide_dtype


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
class LayerWise(keras_slots.RateOfInner, LayerWiseOptimizer):
    r"""Scales the update of an inner optimizer, for each variable, by its trust ratio.

    If the inner optimizer would take the step $w \leftarrow w - \lambda u$ (its momentum, moments and decoupled
    weight decay are all in u), this one takes

    $$w \leftarrow w - \lambda \, \eta \, r \, u, \quad r = \frac{\|w\|}{\|u\|}$$

    with r bounded if `ratio_bounds` are given: "layer-wise and bound-ratio" of Table 3 in
    `limit-of-the-batch-size.txt`. Norms are l2, of one variable each, in float32; a zero norm makes the ratio 1.

    The learning rate and the iterations are the inner optimizer's own; so are its slots, its weight decay (which
    belongs to u here) and its exclusions from it. Its clipping is taken over and comes first.

    What it equals:
      - around SGD without momentum: `LARS(momentum=0)` with the same trust coefficient.
      - around SGD with momentum, at a constant rate: rule D of the TensorFlow Model Garden's LARS
        (`classic_momentum=False`), $v \leftarrow m v + g$, $r = \eta \|w\| / \|v\|$, $w \leftarrow w - \lambda r v$.
        Keras keeps the rate in the buffer, so after a change of rate old gradients weigh by the rate of their time; the
        length of a step, $\lambda \eta \|w\|$, does not depend on it.
      - around Adam or AdamW: `LAMB` with that weight decay, but that Keras's epsilon is the one inside of the bias
        correction: $\epsilon_\text{LAMB} = \epsilon_\text{Keras} / \sqrt{1 - \beta_2^t}$.
      - with `ratio_bounds=(c, c)`: the inner optimizer itself at $c \eta$ times its rate.

    Args:
        inner: A Keras optimizer or its name, such as "adam". SGD, Adam and AdamW go through fused kernels. Of others
            the move that they make with a variable is observed, as a difference.
        trust_coefficient: $\eta$, positive, default 1.
        ratio_bounds: (lowest, highest) for r, default None. What bites is counted (`bounded_share`).
        bound_on: What they clip: "ratio" (default) or "weight_norm".
        exclude_from_adaptation: Regular expressions searched for in variable paths, or the roles "bias" and "norm";
            these take the inner optimizer's plain steps, without the coefficient. Default none.
        exclude_from_weight_decay: Likewise, from the inner optimizer's weight decay; default: what the inner excludes.
        name: Of the optimizer, default "LayerWise" and the inner one's name.
        **kwargs: `clipnorm`, `clipvalue`, `global_clipnorm`, `use_ema`, `jit_compile`, ... as of every Keras optimizer.

    Raises:
        ValueError: If an argument is out of its range, or the inner optimizer is a legacy one, is layer-wise or wrapped
            already (wrap the result instead), averages weights (`use_ema` belongs on the outside), or overrides what
            `LayerWise` does in its place, such as `apply_gradients`; its own `update_step` is used.

    Source: section 3.1 of `limit-of-the-batch-size.txt`.

    Example:
        >>> w = tf.Variable([3.0, 4.0])
        >>> optimizer = LayerWise(tf.keras.optimizers.SGD(0.1), ratio_bounds=(0.0, 10.0))
        >>> _ = optimizer.apply_gradients([(tf.constant([0.0, 2.0]), w)])
        >>> w.numpy().round(3).tolist()  # r = 5 / 2: moves by 0.1 * 2.5 * 2
        [3.0, 3.5]
        >>> optimizer.learning_rate = 0.2
        >>> float(optimizer.inner.learning_rate), float(optimizer.bounded_share)
        (0.20000000298023224, 0.0)
    """

    has_rate = False  # the inner optimizer has it

    def __init__(
        self,
        inner: Any,
        trust_coefficient: float = 1.0,
        ratio_bounds: Sequence[checks.Measured] | None = None,
        bound_on: str = "ratio",
        exclude_from_adaptation: Iterable[str] = (),
        exclude_from_weight_decay: Iterable[str] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        inner = inner_update.check(inner)
        if exclude_from_weight_decay is None:
            exclude_from_weight_decay = keras_slots.decay_exclusions(inner)
            self.exclude_as(inner)
        for argument in ("clipnorm", "clipvalue", "global_clipnorm"):
            kwargs.setdefault(argument, getattr(inner, argument))
        kwargs.setdefault("jit_compile", inner.jit_compile)
        self.inner = inner
        bounds = (ratio_bounds, bound_on)
        exclusions = (exclude_from_weight_decay, exclude_from_adaptation)
        name = name or f"LayerWise{inner.name}"
        super().__init__(name, None, inner.weight_decay, *bounds, *exclusions, **kwargs)
        checks.number("trust_coefficient", trust_coefficient, more_than=0)
        self.trust_coefficient = float(trust_coefficient)

    def create_slots(self, var_list: list[tf.Variable]) -> None:
        """Builds the inner optimizer's slots."""
        super().create_slots(var_list)
        self.inner.build(var_list)
        keras_slots.check_known(self.inner, var_list)
        self.check_shared()

    def step(self, gradient: tf.Tensor, variable: tf.Variable) -> Any:
        """Scales the move that the inner optimizer would make with one variable."""
        wide = wide_dtype(variable)
        rate = tf.cast(self.inner.learning_rate, wide)
        move = inner_update.move(self.inner, gradient, variable, self.decay_of(variable))
        scale = tf.ones([], wide)
        if self.is_adapted(variable):
            # |u| from the move, -rate * u. At a rate of 0 a momentum still moves: |u| is infinite, and r is 0.
            update_norm = trust_ratio.norm(move) / tf.cast(rate, tf.float32)
            scale = tf.cast(self.trust_coefficient * self.ratio(variable, update_norm), wide)
        return subtract(variable, -scale, move)

    @property
    def variables(self) -> Any:
        """Ours and the inner optimizer's, each once."""
        variables = super().variables
        mine = {id(variable) for variable in variables}
        return type(variables)(
            [*variables, *(v for v in self.inner.variables if id(v) not in mine)]
        )

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets all of them: Keras's, by which an `.h5` file is loaded, would leave out the inner optimizer's.

        Raises:
            ValueError: If the optimizer is not built, or their number or shapes are not those of `variables`.
        """
        self.check_built()
        shapes, found = [tuple(v.shape) for v in self.variables], [np.shape(w) for w in weights]
        if found != shapes:
            raise ValueError(
                f"set_weights got weights of the shapes {found}, not compatible with those of the variables, {shapes}."
            )
        for variable, weight in zip(self.variables, weights):
            variable.assign(weight)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        config = super().get_config()
        for belongs_to_inner in ("learning_rate", "weight_decay"):
            del config[belongs_to_inner]
        return {
            **config,
            "inner": inner_update.config(self.inner),
            "trust_coefficient": self.trust_coefficient,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> LayerWise:
        """Makes the optimizer that `get_config` describes."""
        config = dict(config)
        if isinstance(config["inner"], dict):
            config["inner"] = inner_update.from_config(config["inner"], custom_objects)
        return cls(**config)
