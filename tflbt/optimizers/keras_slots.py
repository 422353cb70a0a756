"""The only file that uses private names of Keras's optimizers (and one of TensorFlow's), and checks that they work."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import config

from tflbt import legacy_keras

legacy_keras.refuse_keras_3()
# Private names of Keras that are overridden or assigned here, and the public method of Keras that must use each. If it
# did not, then without any error weights would decay outside the trust ratio or although they are excluded, or
# `LayerWise` would go on at another rate or count than its inner optimizer.
HOOKS = {
    "_apply_weight_decay": "apply_gradients",
    "_compute_current_learning_rate": "apply_gradients",
    "_learning_rate": "learning_rate",
    "_current_learning_rate": "learning_rate",
    "_iterations": "iterations",
    "_create_iteration_variable": "__init__",
    "_exclude_from_weight_decay": "exclude_from_weight_decay",
    "_exclude_from_weight_decay_names": "exclude_from_weight_decay",
}

# What an inner optimizer is not asked for: `LayerWise` calls its `update_step`, and does the rest itself.
NOT_ASKED_OF_INNER = (
    *("apply_gradients", "compute_gradients", "minimize", "aggregate_gradients", "finalize_variable_values"),
    *("_apply_weight_decay", "_clip_gradients", "_deduplicate_sparse_grad", "_internal_apply_gradients"),
    *("_update_step", "_update_step_xla", "_use_weight_decay"),
)  # fmt: skip


class HookedOptimizer(tf.keras.optimizers.Optimizer):
    """Keras's optimizer with its hooks under public names; weight decay is left to the step.

    Subclasses override `create_slots` instead of `build`, and `decays` instead of Keras's `_use_weight_decay`.
    """

    def build(self, var_list: list[tf.Variable]) -> None:
        """Creates the slots, once, after a check that Keras still calls the hooks."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        check_hooks()
        self.create_slots(var_list)
        self._built = True

    def create_slots(self, var_list: list[tf.Variable]) -> None:
        """Creates what the optimizer keeps beside the variables."""

    def check_built(self) -> None:
        """Raises ValueError if there are no slots yet to set weights of."""
        if not getattr(self, "_built", False):
            raise ValueError(
                "You are calling `set_weights()` on an optimizer that has not yet been built: call "
                "`optimizer.build(trainable_variables)` first, which creates its weights."
            )

    def set_rate(self, learning_rate: Any) -> None:
        """Takes a float or a Keras schedule as the learning rate, as Keras's constructors do."""
        self._learning_rate = self._build_learning_rate(learning_rate)

    def rate_config(self) -> float | dict[str, Any]:
        """The learning rate as a JSON value."""
        rate = self._serialize_hyperparameter(self._learning_rate)
        return rate if isinstance(rate, dict) else float(rate)

    @property
    def decay_exclusions(self) -> list[str]:
        """Patterns of variables that do not decay; Keras's `exclude_from_weight_decay` adds to them."""
        return self._exclude_from_weight_decay_names

    @decay_exclusions.setter
    def decay_exclusions(self, patterns: list[str]) -> None:
        self._exclude_from_weight_decay_names = patterns

    def exclude_as(self, inner: tf.keras.optimizers.Optimizer) -> None:
        """Excludes from weight decay the variables that another optimizer was given one by one."""
        self._exclude_from_weight_decay = getattr(inner, "_exclude_from_weight_decay", [])

    def is_excluded(self, variable: tf.Variable) -> bool:
        """True if the variable was given to Keras's `exclude_from_weight_decay`, not by name."""
        return self._var_key(variable) in getattr(self, "_exclude_from_weight_decay", [])

    def decays(self, variable: tf.Variable) -> bool:
        """Whether weight decay applies to a variable."""
        return super()._use_weight_decay(variable)

    def _use_weight_decay(self, variable: tf.Variable) -> bool:
        return self.decays(variable)

    def _apply_weight_decay(self, variables: list[tf.Variable]) -> None:
        """Does nothing: Keras would decay before the step, outside the ratio."""


class RateOfInner:
    """Makes an optimizer's learning rate and count of updates those of `self.inner`, for readers and writers alike."""

    inner: Any
    _variables: list[Any]  # Keras's

    @property
    def _learning_rate(self) -> Any:
        return self.inner._learning_rate

    @_learning_rate.setter
    def _learning_rate(self, rate: Any) -> None:
        self.inner._learning_rate = rate

    @property
    def _current_learning_rate(self) -> Any:
        return self.inner._current_learning_rate

    def _compute_current_learning_rate(self) -> None:
        self.inner._compute_current_learning_rate()

    @property
    def _iterations(self) -> Any:
        return self.inner._iterations

    @_iterations.setter
    def _iterations(self, variable: Any) -> None:
        """Counts in another variable; Keras's setters raise once either optimizer is built."""
        before = self.inner._iterations
        self.inner.iterations = variable
        for optimizer in (self, self.inner):
            optimizer._variables = [variable if v is before else v for v in optimizer._variables]

    def _create_iteration_variable(self) -> None:
        """Takes the inner optimizer's count in the place of the one that Keras's constructor creates."""
        self._variables.append(self._iterations)

    def check_shared(self) -> None:
        """Makes sure that the rate and the count are the inner optimizer's."""
        for name in ("learning_rate", "iterations"):
            if getattr(self, name) is not getattr(self.inner, name):
                raise RuntimeError(_broken(f"`{name}` is not the inner optimizer's"))


def check_hooks() -> None:
    """Raises RuntimeError unless Keras's optimizer uses each of the `HOOKS` where Keras 2.15 does."""
    for hook, caller in HOOKS.items():
        if hook not in _used_by(caller):
            raise RuntimeError(_broken(f"`{caller}` does not use `{hook}`"))


def _used_by(caller: str) -> set[str]:
    """The names that Keras's methods (or property) of this name use, in all base classes."""
    names: set[str] = set()
    for cls in tf.keras.optimizers.Optimizer.__mro__:
        member = vars(cls).get(caller)
        functions = [member.fget, member.fset] if isinstance(member, property) else [member]
        for function in filter(inspect.isfunction, map(inspect.unwrap, filter(None, functions))):
            names.update(function.__code__.co_names, function.__code__.co_consts)
    return names


def _broken(reason: str) -> str:
    """The message of a check that failed."""
    return (
        f"Keras {legacy_keras.version()} has other optimizers than tflbt was made for: {reason}. Training would go "
        "wrong without an error; use Keras 2.15, or tf_keras 2.18."
    )


def slot(
    optimizer: tf.keras.optimizers.Optimizer, slots: list[tf.Variable], variable: tf.Variable
) -> tf.Variable:
    """An optimizer's slot of this variable."""
    return slots[optimizer._index_dict[optimizer._var_key(variable)]]


def check_known(optimizer: tf.keras.optimizers.Optimizer, variables: Sequence[tf.Variable]) -> None:
    """Raises Keras's KeyError where an optimizer was built for other variables."""
    for variable in variables:
        if optimizer._var_key(variable) not in optimizer._index_dict:
            raise KeyError(
                f"The optimizer cannot recognize variable {variable.name}: the inner optimizer {optimizer.name} was "
                "built for other variables before, perhaps in another LayerWise. Give each LayerWise a new one."
            )


def adam_moments(optimizer: tf.keras.optimizers.Adam, variable: tf.Variable) -> list[tf.Variable]:
    """The two slots of Keras's Adam for this variable."""
    return [slot(optimizer, s, variable) for s in (optimizer._momentums, optimizer._velocities)]


def decay_exclusions(optimizer: tf.keras.optimizers.Optimizer) -> list[str]:
    """Patterns that any Keras optimizer was given by `exclude_from_weight_decay(var_names=...)`."""
    return getattr(optimizer, "_exclude_from_weight_decay_names", [])


def is_horovods(optimizer: Any) -> bool:
    """True if Horovod has wrapped the optimizer."""
    return hasattr(optimizer, "_allreduce_grads")


def is_deterministic() -> bool:
    """True after TensorFlow's `enable_op_determinism`; there is no public way to ask."""
    return config.is_op_determinism_enabled()
