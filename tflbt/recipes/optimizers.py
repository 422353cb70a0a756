"""The optimizer that a recipe names: tflbt's, Keras's or TensorFlow Addons', and what it takes."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tflbt import optimizers
from tflbt.optimizers import LayerWise, addons

__all__ = ["NAMES", "LayerWise", "find", "no_such", "parameters"]
NAMES = tuple(optimizers.__all__)
# Arguments of every Keras optimizer that constructors hide in **kwargs.
_CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


def find(name: Any) -> Any:
    """The optimizer class of a name; None if there is none.

    The name is looked for in `tflbt.optimizers`, then in `tf.keras.optimizers`; "tfa.NAME" is TensorFlow Addons'.

    Example:
        >>> find("Adam") is tf.keras.optimizers.Adam, find("sgd")
        (True, None)
    """
    if not isinstance(name, str):
        return None
    if name.startswith(addons.PREFIX):
        try:
            return addons.get(name)
        except ValueError:
            return None
    cls = getattr(optimizers, name, None) if name in NAMES else None
    cls = cls or getattr(tf.keras.optimizers, name, None)
    base = tf.keras.optimizers.Optimizer
    return cls if inspect.isclass(cls) and issubclass(cls, base) and cls is not base else None


def no_such(name: Any) -> str:
    """What is said of a name that is no optimizer's."""
    if isinstance(name, str) and name.startswith(addons.PREFIX):
        try:
            addons.get(name)
        except ValueError as error:
            return str(error).partition(" ")[2]
    return (
        f"is no optimizer: use {', '.join(NAMES)} of tflbt, one of tf.keras.optimizers by its class name (SGD, Adam, "
        "AdamW, RMSprop, ...), or TensorFlow Addons' with a prefix (tfa.LAMB)."
    )


@functools.lru_cache(maxsize=256)
def parameters(cls: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The arguments of a constructor, those of an optimizer without `name` and with the clipping that it may hide."""
    found = dict(inspect.signature(cls).parameters)
    hides = [word for word, parameter in found.items() if parameter.kind is parameter.VAR_KEYWORD]
    for word in hides:
        del found[word]
    if inspect.isclass(cls) and issubclass(
        cls, tf.keras.optimizers.Optimizer | tf.keras.optimizers.legacy.Optimizer
    ):
        found.pop("name", None)
        for word in _CLIPPING:
            keyword = inspect.Parameter(word, inspect.Parameter.KEYWORD_ONLY, default=None)
            found.setdefault(word, keyword)
    return types.MappingProxyType(found)
