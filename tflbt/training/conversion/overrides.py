"""What becomes of each name of Keras's that a user's model or optimizer may define anew: one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt import checks, legacy_keras
from tflbt.training.keras_internals import Functional

# `from_model` makes the model, or its layers, layers of a LargeBatchModel: what Keras asks of a layer stays as it is.
# A functional model that has only the first group of this for itself is still taken apart into its layers.
CONFIGURATION = frozenset(
    (
        *("get_config", "from_config", "get_build_config", "build_from_config", "build"),
        *("compute_output_shape", "compute_output_signature"),
    )
)
CARRIED_OVER = CONFIGURATION | frozenset(
    (
        *("__call__", "call", "compute_mask", "supports_masking", "input_spec", "activity_regularizer"),
        *("add_loss", "add_metric", "add_update", "add_variable", "add_weight"),
        *("trainable", "trainable_weights", "trainable_variables"),
        *("non_trainable_weights", "non_trainable_variables", "weights", "variables"),
        *("save_own_variables", "load_own_variables", "save_spec"),
        *("dtype", "dtype_policy", "compute_dtype", "variable_dtype"),
        *("name", "name_scope", "with_name_scope"),
    )
)  # fmt: skip
# What shows a model and changes nothing: the LargeBatchModel has Keras's own, and a notice says so.
LEFT_BEHIND = frozenset(
    (
        *("summary", "get_layer", "layers", "submodules", "count_params", "get_weight_paths"),
        *("to_json", "to_yaml", "updates", "state_updates", "inbound_nodes", "outbound_nodes"),
        *("input", "input_mask", "input_shape", "output", "output_mask", "output_shape"),
        *("get_input_at", "get_input_mask_at", "get_input_shape_at"),
        *("get_output_at", "get_output_mask_at", "get_output_shape_at"),
    )
)
# All else, which Keras asks of the model that it trains (`compute_loss`, `metrics`, `test_step`, `fit` ...), is refused
# by `from_model` and used in a subclass of LargeBatchModel, but for these, in which the update itself lies.
THE_UPDATE = (
    *("train_step", "make_train_function", "make_test_function"),
    *("steps_per_execution", "autotune_steps_per_execution"),
)
# Where an optimizer makes gradients, which LargeBatchModel sums over sub-batches and ranks: it calls `apply_gradients`.
GRADIENTS = (
    *("compute_gradients", "minimize", "aggregate_gradients"),
    *("get_gradients", "get_updates", "_compute_gradients", "_get_gradients", "_transform_loss"),
)
# Packages whose optimizers are known: those of Addons that have a `minimize` of their own only hand arguments on.
KNOWN_OPTIMIZERS = ("keras", "tensorflow", "tensorflow_addons", "horovod", "tflbt")


def of_model(model: tf.keras.Model) -> list[str]:
    """The names of Keras's models that a model, or its class, defines anew."""
    return redefined(model, [name for name in dir(tf.keras.Sequential) if _is_overridable(name)])


def redefined(model: tf.keras.Model, names: Sequence[str]) -> list[str]:
    """Those of the names that neither Keras nor LargeBatchModel defines, but the model or a class of the user's."""
    return checks.overridden(model, names, lambda cls: _is_keras_model(cls) or _is_ours(cls))


def is_refused(name: str) -> bool:
    """Whether `from_model` refuses models that define this name anew."""
    if name in CARRIED_OVER | LEFT_BEHIND:
        return False
    # A private name is asked of layers, if Keras's Layer has it and its Model does not change it.
    return not name.startswith("_") or name in vars(tf.keras.Model)


def leaves_the_graph(found: Sequence[str]) -> bool:
    """Whether a functional model that defines these names anew still computes what its layers do, and no more."""
    return (CONFIGURATION | LEFT_BEHIND).issuperset(found) and not {"input", "output"} & set(found)


def check_carried_over(model: tf.keras.Model) -> list[str]:
    """Refuses a model that defines anew what `from_model` cannot carry over; returns what it defines."""
    found = of_model(model)
    name = type(model).__name__
    if refused := [each for each in found if is_refused(each)]:
        instead = " and override compute_loss instead" if "train_step" in refused else ""
        raise ValueError(
            f"{name} has a {', a '.join(refused)} of its own, which from_model cannot carry over: derive the class "
            f"from tflbt.LargeBatchModel, in the place of its Keras class{instead}."
        )
    if left := [each for each in found if each in LEFT_BEHIND]:
        logging.warning(
            "The LargeBatchModel made from %s has Keras's %s: the class's own is left behind.",
            *(name, ", ".join(left)),
        )
    return found


def check_model(model: tf.keras.Model, own_names: list[str]) -> None:
    """Refuses a LargeBatchModel that defines anew the update, or one of `own_names`, which Keras does not have."""
    name = type(model).__name__
    for each in redefined(model, [*THE_UPDATE, *own_names]):
        if each in own_names:
            raise ValueError(f"{name} defines {each} anew, which LargeBatchModel needs: rename it.")
        raise ValueError(
            f"{name} overrides {each}, which sub-batches cannot use: override compute_loss instead, for evaluation "
            "test_step."
        )


def check_optimizer(optimizer: Any) -> None:
    """Refuses what does not take its step in `apply_gradients` alone, as every optimizer of Keras's does."""
    if isinstance(optimizer, (list, tuple, dict)):
        raise ValueError(f"optimizer={optimizer!r} must be one optimizer, for all variables.")
    while optimizer is not None:
        name = type(optimizer).__name__
        if isinstance(optimizer, tf.compat.v1.train.Optimizer):
            raise ValueError(
                f"optimizer={name} is an optimizer of TensorFlow 1: use one of tf.keras.optimizers, such as "
                "tf.keras.optimizers.SGD(0.1)."
            )
        if found := checks.overridden(optimizer, GRADIENTS, _is_known_optimizer):
            raise ValueError(
                f"{name} overrides {', '.join(found)}, which LargeBatchModel does not call, since it sums the "
                "gradients of sub-batches and ranks itself: override apply_gradients instead, or change the summed "
                "gradients in change_gradients of a tflbt.training.Rule."
            )
        optimizer = getattr(optimizer, "inner_optimizer", None)  # of a LossScaleOptimizer


def _is_overridable(name: str) -> bool:
    """Whether a name of Keras's models is a method or property: constants say only where Keras exports a class."""
    value = getattr(tf.keras.Sequential, name)
    return name == "__call__" or (
        not name.startswith("__") and (callable(value) or isinstance(value, property))
    )


def _is_keras_model(cls: type) -> bool:
    return cls in tf.keras.Sequential.__mro__


def _is_ours(cls: type) -> bool:
    # Functional ones are saved under the name of Keras's class, see `tflbt.training.conversion.saving`.
    return cls.__module__.partition(".")[0] == "tflbt" or cls.__module__ == Functional.__module__


def _is_known_optimizer(cls: type) -> bool:
    return legacy_keras.package_of(cls) in KNOWN_OPTIMIZERS
