"""What all layer-wise optimizers share: two exclusion lists, bounded ratios and their count, decay inside the ratio."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.optimizers import keras_slots, trust_ratio
from tflbt.optimizers.turns import in_turn

# What a learning rate may be besides a number and a function.
RATES = (tf.keras.optimizers.schedules.LearningRateSchedule, tf.Tensor, tf.Variable)


class LayerWiseOptimizer(keras_slots.HookedOptimizer):
    """Base class: weight decay belongs to the update, and each variable's step is scaled by its trust ratio.

    A subclass computes an update in `step` and asks `decay_of(variable)` for its weight decay and
    `ratio(variable, update_norm)` for the scalar to multiply it with. Under bounds it counts, for each update, how
    many of the ratios were changed by them: `bounded_share` is what a user who tunes the bounds looks at.

    The arguments are those of `LAMB`; `has_rate` is False in a subclass that keeps the learning rate elsewhere, and a
    weight decay of None counts as 0.
    """

    has_rate = True

    def __init__(
        self,
        name: str,
        learning_rate: Any,
        weight_decay: float | None = 0.0,
        ratio_bounds: Sequence[checks.Measured] | None = None,
        bound_on: str = "ratio",
        exclude_from_weight_decay: Iterable[str] = (),
        exclude_from_adaptation: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        weight_decay = 0.0 if weight_decay is None else float(weight_decay)
        for clip in ("clipnorm", "clipvalue", "global_clipnorm"):
            if kwargs.get(clip) is not None:
                checks.number(clip, kwargs[clip], more_than=0)
        super().__init__(name=name, weight_decay=weight_decay, **kwargs)
        checks.number("weight_decay", weight_decay, at_least=0)
        if self.has_rate:
            self._set_first_rate(learning_rate)
        checks.one_of("bound_on", bound_on, trust_ratio.BOUND_ON)
        self.ratio_bounds = trust_ratio.check_bounds(ratio_bounds)
        self.bound_on = bound_on
        check = trust_ratio.check_patterns
        self._adaptation_exclusions = check(exclude_from_adaptation, "exclude_from_adaptation")
        self.decay_exclusions = list(check(exclude_from_weight_decay, "exclude_from_weight_decay"))

    def _set_first_rate(self, learning_rate: Any) -> None:
        """Sets the rate that the constructor got; raises ValueError unless it is a number or a schedule."""
        if isinstance(learning_rate, np.ndarray):
            learning_rate = checks.scalar(learning_rate)
        if not isinstance(learning_rate, RATES) and not callable(learning_rate):
            checks.number("learning_rate", learning_rate, at_least=0, at_most=checks.LARGEST)
        try:
            self.set_rate(learning_rate)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"learning_rate={learning_rate!r} must be a number, at least 0, or a Keras schedule: {error}"
            ) from error

    def create_slots(self, var_list: list[tf.Variable]) -> None:
        """Creates the counts of bounded ratios, and warns of regular expressions that exclude no variable."""
        self._largest = max((variable.shape.num_elements() for variable in var_list), default=0)
        for argument, patterns in (
            ("exclude_from_weight_decay", self.decay_exclusions),
            ("exclude_from_adaptation", self._adaptation_exclusions),
        ):
            for pattern in trust_ratio.unmatched(patterns, var_list):
                warnings.warn(
                    f"{argument} holds {pattern!r}, which matches none of the {len(var_list)} variables "
                    f"(the first is {var_list[0].name!r}).",
                    stacklevel=2,
                )
        if self.ratio_bounds is not None:
            self._bounded, self._ratios = (
                self.add_variable((), tf.int64, name=name) for name in ("bounded", "ratios")
            )

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Takes one step on one variable, in turn with the others."""
        alone = 2 * variable.shape.num_elements() > self._largest
        in_turn(lambda: self.step(tf.convert_to_tensor(gradient), variable), alone)

    def step(self, gradient: tf.Tensor, variable: tf.Variable) -> Any:
        """Takes one step on one variable and returns the operation that ends it."""
        raise NotImplementedError

    def slots(
        self, var_list: list[tf.Variable], name: str, wide: bool = False
    ) -> list[tf.Variable]:
        """A buffer of zeros beside each variable; `wide`: at least float32, for moments that 16 bits would stall."""
        if not wide:
            return [self.add_variable_from_reference(variable, name) for variable in var_list]
        return [
            self.add_variable(v.shape, wide_dtype(v), name=f"{name}/{v.name.split(':')[0]}")
            for v in var_list
        ]

    def slot(self, slots: list[tf.Variable], variable: tf.Variable) -> tf.Variable:
        """The buffer of this variable."""
        return keras_slots.slot(self, slots, variable)

    @property
    def bounded_share(self) -> tf.Tensor | None:
        """Share of the trust ratios so far that the bounds changed, in [0, 1]; None without bounds."""
        if self.ratio_bounds is None or not hasattr(self, "_ratios"):
            return None
        return tf.math.divide_no_nan(
            tf.cast(self._bounded, tf.float32), tf.cast(self._ratios, tf.float32)
        )

    def bound_counts(self) -> tuple[int, int] | None:
        """How many ratios the bounds changed, and how many there were, since the beginning; None without bounds."""
        if self.ratio_bounds is None or not hasattr(self, "_ratios"):
            return None
        return int(self._bounded), int(self._ratios)

    def ratio(
        self, variable: tf.Variable, update_norm: tf.Tensor, weight_norm: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The trust ratio of an adapted variable, a float32 scalar; counts whether its bounds bit."""
        if weight_norm is None:
            weight_norm = trust_ratio.norm(variable)
        if self.ratio_bounds is not None:
            bit = trust_ratio.is_bounded(weight_norm, update_norm, self.ratio_bounds, self.bound_on)
            self._bounded.assign_add(tf.cast(bit, tf.int64))
            self._ratios.assign_add(1)
        return trust_ratio.trust_ratio(weight_norm, update_norm, self.ratio_bounds, self.bound_on)

    def is_adapted(self, variable: tf.Variable) -> bool:
        """Whether the variable's step is scaled by a trust ratio."""
        return not trust_ratio.matches(self._adaptation_exclusions, variable)

    def decay_of(self, variable: tf.Variable) -> float:
        """The weight decay of this variable: 0 where it is excluded."""
        return self.weight_decay if self.decays(variable) else 0.0

    def decays(self, variable: tf.Variable) -> bool:
        """As Keras decides it, whose patterns know no roles."""
        excluded = trust_ratio.matches(self.decay_exclusions, variable)
        return not excluded and not self.is_excluded(variable)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        return {
            **super().get_config(),
            "learning_rate": self.rate_config(),
            "ratio_bounds": None if self.ratio_bounds is None else list(self.ratio_bounds),
            "bound_on": self.bound_on,
            "exclude_from_weight_decay": list(self.decay_exclusions),
            "exclude_from_adaptation": list(self._adaptation_exclusions),
        }


def wide_dtype(variable: tf.Variable) -> tf.DType:
    """What scalars and 16-bit updates are worked out in: float32, or float64 for a float64 variable."""
    return tf.float32 if variable.dtype.size < 4 else variable.dtype


def subtract(variable: tf.Variable, rate: tf.Tensor, update: tf.Tensor) -> Any:
    """W <- w - rate u in one pass, an operation; worked out in the rate's dtype where the variable's has 16 bits."""
    if variable.dtype == update.dtype == rate.dtype:
        return tf.raw_ops.ResourceApplyGradientDescent(
            var=variable.handle, alpha=rate, delta=update
        )
    weights, update = (tf.cast(value, rate.dtype) for value in (variable, update))
    return variable.assign(tf.cast(weights - rate * update, variable.dtype), read_value=False)
