"""The optimizer that a recipe names: tflbt's, Keras's or TensorFlow Addons'."""

from __future__ import annotations

import inspect
from typing import Any

import ml_collections
import tensorflow as tf

from tflbt import optimizers
from tflbt.optimizers import addons

# Arguments of every Keras optimizer that constructors hide in **kwargs.
_CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


def build_optimizer(config: ml_collections.ConfigDict) -> Any:
    """The optimizer of `config.optimizer`: a name, and that optimizer's arguments.

    The name is looked for in `tflbt.optimizers`, then in `tf.keras.optimizers`; "tfa.NAME" is TensorFlow Addons'.
    `LayerWise` takes the inner optimizer as a section of its own, `inner`, and `learning_rate` beside it, where all
    other optimizers have it too.

    Raises:
        ValueError: If the name or an argument is unknown.

    Example:
        >>> build_optimizer(ml_collections.ConfigDict({
        ...     "name": "LayerWise", "learning_rate": 0.02, "inner": {"name": "Adam"},
        ...     "ratio_bounds": (0.1, 10.0)})).name
        'LayerWiseAdam'
    """
    return _build(config.to_dict(), "optimizer")


def _build(options: dict[str, Any], key: str) -> Any:
    if "name" not in options:
        raise ValueError(f"config.{key} needs a name, such as SGD or Adam.")
    options = dict(options)
    name = options.pop("name")
    cls = _find(name, key)
    if cls is optimizers.LayerWise:
        options["inner"] = _inner(options, key)
    known = _arguments(cls)
    for option in options:
        if option not in known:
            raise ValueError(
                f"config.{key}.{option} is no argument of {name}: it takes {', '.join(known)}."
            )
    return cls(**options)


def _inner(options: dict[str, Any], key: str) -> Any:
    """The optimizer inside `LayerWise`; takes the learning rate out of the options of the outer one."""
    inner = options.get("inner", {})
    if not isinstance(inner, dict):
        raise ValueError(f"config.{key}.inner={inner!r} must be a section with a name of its own.")
    if "learning_rate" in inner:
        raise ValueError(
            f"config.{key}.inner.learning_rate={inner['learning_rate']!r} must be given as "
            f"config.{key}.learning_rate, where every optimizer has it."
        )
    return _build({**inner, "learning_rate": options.pop("learning_rate", 0.01)}, f"{key}.inner")


def _arguments(cls: Any) -> list[str]:
    """What a recipe may give to an optimizer."""
    parameters = inspect.signature(cls).parameters.values()
    named = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
    return [*(name for name in named if name not in ("name", *_CLIPPING)), *_CLIPPING]


def _find(name: str, key: str) -> Any:
    if name.startswith(addons.PREFIX):
        try:
            return addons.get(name)
        except ValueError as error:
            raise ValueError(f"config.{key}.{error}") from error
    cls = getattr(optimizers, name, None) if name in optimizers.__all__ else None
    cls = cls or getattr(tf.keras.optimizers, name, None)
    base = tf.keras.optimizers.Optimizer
    if not (inspect.isclass(cls) and issubclass(cls, base) and cls is not base):
        raise ValueError(
            f"config.{key}.name={name!r} is no optimizer: use {', '.join(optimizers.__all__)} of tflbt, one of "
            "tf.keras.optimizers by its class name (SGD, Adam, AdamW, RMSprop, ...), or TensorFlow Addons' with a "
            "prefix (tfa.LAMB)."
        )
    return cls
