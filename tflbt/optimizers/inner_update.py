"""The move that an inner optimizer would make with a variable, as a tensor, for `LayerWise` to scale."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks, legacy_keras
from tflbt.optimizers import keras_slots
from tflbt.optimizers.adam_update import adam_update, bias_corrections
from tflbt.optimizers.base import LayerWiseOptimizer
from tflbt.optimizers.borrowed import run_on

_KERAS = tf.keras.optimizers
# Their steps do not depend on the weights (weight decay apart, which is ours): observed from zero, a step is exact.
_BLIND_TO_WEIGHTS = (
    _KERAS.SGD, _KERAS.Adagrad, _KERAS.RMSprop, _KERAS.Adam, _KERAS.AdamW, _KERAS.Nadam, _KERAS.Adamax,
    _KERAS.Adadelta, _KERAS.Lion,
)  # fmt: skip


def check(inner: Any) -> tf.keras.optimizers.Optimizer:
    """Returns the inner optimizer, which may be named or configured only, if it can be made layer-wise."""
    if isinstance(inner, dict) and not {"class_name", "config"} <= set(inner):
        raise ValueError(
            f"inner={inner!r} must be an optimizer, or the dictionary of a serialised one."
        )
    if isinstance(inner, (str, dict)):
        inner = from_config(inner) if isinstance(inner, dict) else _named(inner)
    name = f"inner={type(inner).__name__}"
    if isinstance(inner, _KERAS.legacy.Optimizer):
        raise ValueError(
            f"{name} is a legacy optimizer: use tf.keras.optimizers.{type(inner).__name__} or another of "
            "tf.keras.optimizers (TensorFlow Addons' optimizers are legacy ones)."
        )
    scaled = isinstance(inner, tf.keras.mixed_precision.LossScaleOptimizer)
    if scaled or keras_slots.is_horovods(inner):
        raise ValueError(
            f"{name} is wrapped already: give LayerWise the plain optimizer, and wrap LayerWise."
        )
    if not isinstance(inner, _KERAS.Optimizer):
        raise ValueError(f"{name} must be a Keras optimizer, such as tf.keras.optimizers.SGD(0.1).")
    if isinstance(inner, LayerWiseOptimizer):
        raise ValueError(f"{name} is layer-wise already: use it as it is.")
    if inner.use_ema:
        raise ValueError(f"{name} has use_ema=True: give use_ema to LayerWise, not to inner.")
    theirs = ("keras", "tensorflow", "tflbt")
    names = keras_slots.NOT_ASKED_OF_INNER
    if found := checks.overridden(inner, names, lambda cls: legacy_keras.package_of(cls) in theirs):
        raise ValueError(
            f"{name} overrides {', '.join(found)}, which LayerWise would not call: override update_step, or derive a "
            "class from LayerWise."
        )
    return inner


def _named(name: str) -> Any:
    """An optimizer of Keras's by its name in any case; `tf.keras.optimizers.get` knows no "adamw"."""
    base = _KERAS.Optimizer
    by_name = {
        key.lower(): cls
        for key, cls in vars(_KERAS).items()
        if isinstance(cls, type) and issubclass(cls, base) and cls is not base
    }
    if name.lower() not in by_name:
        raise ValueError(f"inner={name!r} is no Keras optimizer: use {', '.join(sorted(by_name))}.")
    return by_name[name.lower()]()


def config(inner: tf.keras.optimizers.Optimizer) -> dict[str, Any]:
    """The inner optimizer's serialised form, as JSON values."""
    return _plain(_KERAS.serialize(inner))


def from_config(config: dict[str, Any], custom_objects: Any = None) -> Any:
    """Makes the inner optimizer of its serialised form, which is left as it is."""
    config = copy.deepcopy(config)
    name = config["class_name"]
    if config.get("registered_name") in (None, name) and hasattr(_KERAS, name):
        return getattr(_KERAS, name).from_config(config["config"])  # deserialize knows no AdamW
    return _KERAS.deserialize(config, custom_objects=custom_objects)


def move(
    inner: tf.keras.optimizers.Optimizer, gradient: tf.Tensor, variable: tf.Variable, decay: float
) -> tf.Tensor:
    """What a built inner optimizer would add to a variable: minus its rate times its update, decoupled decay included.

    Its slots advance, its iterations and the variable do not. The gradient is dense, of the variable's dtype.
    """
    rate = tf.cast(inner.learning_rate, variable.dtype)
    fused = variable.dtype in (tf.float32, tf.float64)
    if fused and type(inner) in (_KERAS.Adam, _KERAS.AdamW) and not inner.amsgrad:
        return _adam(inner, gradient, variable, rate, decay)
    if fused and type(inner) is _KERAS.SGD and inner.momentum:
        return _momentum(inner, gradient, variable, rate, decay)
    return _observed(inner, gradient, variable, rate, decay)


def _adam(
    inner: Any, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor, decay: float
) -> tf.Tensor:
    m, v = keras_slots.adam_moments(inner, variable)
    betas = (inner.beta_1, inner.beta_2)
    first, second = bias_corrections(betas, inner.iterations + 1, variable.dtype)
    return adam_update(
        gradient,
        variable,
        m,
        v,
        betas,
        scale=-tf.cast(rate, tf.float64) * tf.sqrt(second) / first,
        epsilon_hat=tf.constant(inner.epsilon, variable.dtype),
        decay=-rate * tf.cast(decay, variable.dtype) if decay else None,
    )


def _momentum(
    inner: Any, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor, decay: float
) -> tf.Tensor:
    """TensorFlow's fused kernel for Keras's SGD (m <- mu m - rate g, w <- w + m), run on the decay's move."""
    momentum = keras_slots.slot(inner, inner.momentums, variable)
    return run_on(
        variable,
        _decay_move(variable, rate, decay),
        lambda: tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=momentum.handle,
            lr=rate,
            grad=gradient,
            momentum=tf.cast(inner.momentum, variable.dtype),
            use_nesterov=inner.nesterov,
        ),
    )


def _observed(
    inner: Any, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor, decay: float
) -> tf.Tensor:
    """Lets the inner optimizer make its move and takes it back: the difference is the move."""

    def step() -> None:
        inner.update_step(gradient, variable)

    start = _decay_move(variable, rate, decay)
    if type(inner) in _BLIND_TO_WEIGHTS:
        return run_on(variable, start, step)
    # Keras decays first, and the step sees the decayed weights.
    return run_on(variable, variable + start, step) - variable


def _decay_move(variable: tf.Variable, rate: tf.Tensor, decay: float) -> tf.Tensor:
    """What decoupled weight decay adds to a variable."""
    if not decay:
        return tf.zeros(variable.shape, variable.dtype)
    return -rate * tf.cast(decay, variable.dtype) * variable


def _plain(value: Any) -> Any:
    """The same with NumPy's numbers made Python's."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
