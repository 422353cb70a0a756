"""Keras's own networks by name, such as "keras.applications.ResNet50", ending in logits."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tflbt.models.prepared import prepares

PREFIX = "keras.applications."
# A network ends in logits for `classes` classes, so it has its top, and the top has no softmax.
_DECIDED = ("include_top", "input_tensor", "pooling", "classifier_activation")


def names() -> list[str]:
    """The networks' names, without the prefix."""
    members = inspect.getmembers(tf.keras.applications, inspect.isfunction)
    return [name for name, function in members if _is_network(function)]


def application(name: str) -> Callable[..., tf.keras.Model]:
    """The function that builds a network of `tf.keras.applications`, with the options of `tflbt.models.prepared`.

    It differs from Keras's: it ends in logits (float32 under mixed precision too), `weights` is None by default, and
    `weight_decay`, `ghost_batch_size`, `bn_momentum` and `bn_epsilon` may be given. The last two are Keras's own by
    default (None). Networks that scale their images themselves, such as EfficientNet, expect pixels of 0 to 255.

    Raises:
        ValueError: If Keras has no such network; the message lists those that it has.

    Example:
        >>> from tflbt import models
        >>> model = models.build("keras.applications.MobileNet", input_shape=(32, 32, 3), classes=5, weight_decay=0.1)
        >>> model.output_shape, len(model.losses)
        ((None, 5), 15)
    """
    network: Any = getattr(tf.keras.applications, name.removeprefix(PREFIX), None)
    if not name.startswith(PREFIX) or not _is_network(network):
        raise ValueError(f"There is no model {name!r}; Keras has {', '.join(names())}.")
    parameters = {
        key: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for key, parameter in inspect.signature(network).parameters.items()
        if key not in _DECIDED and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    parameters["weights"] = parameters["weights"].replace(default=None)

    @functools.wraps(network)
    def build(**options: Any) -> tf.keras.Model:
        model = network(**{"weights": None, **options}, classifier_activation=None)
        if model.output.dtype == tf.float32:
            return model
        logits = tf.keras.layers.Activation("linear", dtype="float32", name="logits")(model.output)
        return tf.keras.Model(model.inputs, logits, name=model.name)

    build.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    return prepares(bn_momentum=None, bn_epsilon=None)(build)


def _is_network(function: Any) -> bool:
    """True for the functions that build networks; modules stand beside them."""
    return inspect.isfunction(function) and "weights" in inspect.signature(function).parameters
