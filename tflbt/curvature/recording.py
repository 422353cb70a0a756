"""Watch which layers a model calls, in what order and with which tensors, during one trace."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of one layer.

    Args:
        layer: The layer.
        args: Positional arguments, tensors as they were after Keras's casts.
        kwargs: Keyword arguments, ``training`` and ``mask`` among them where the layer takes them.
        outputs: What it returned.
    """

    layer: tf.keras.layers.Layer
    args: tuple
    kwargs: dict[str, Any]
    outputs: Any


def leaf_layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """List a model's layers, those of models inside it in their model's place, each once.

    A layer that is made of layers (a wrapper, a recurrent layer, a custom block) counts as one.

    Args:
        model: Any Keras model.

    Returns:
        The layers, in the order of ``model.layers``.

    Example:
        >>> inner = tf.keras.Sequential([tf.keras.layers.Dense(2, name="a", input_shape=(3,))])
        >>> outer = tf.keras.Sequential([inner, tf.keras.layers.Dense(1, name="b")])
        >>> [layer.name for layer in leaf_layers(outer)]
        ['a', 'b']
    """
    found: dict[int, tf.keras.layers.Layer] = {}
    for layer in model.layers:
        inside = leaf_layers(layer) if isinstance(layer, tf.keras.Model) else [layer]
        found.update({id(leaf): leaf for leaf in inside})
    return list(found.values())


@contextlib.contextmanager
def recorded_calls(model: tf.keras.Model) -> Iterator[list[LayerCall]]:
    """Record every call of a leaf layer of ``model`` made inside the ``with`` block.

    The layers' ``call`` is replaced for that time and put back also after an exception.

    Args:
        model: The model whose layers are watched.

    Yields:
        The list that grows by one `LayerCall` a call.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, name="a", input_shape=(2,))])
        >>> with recorded_calls(model) as calls:
        ...     _ = model(tf.ones([1, 2]))
        >>> [call.layer.name for call in calls]
        ['a']
    """
    calls: list[LayerCall] = []
    layers = leaf_layers(model)
    own = [layer.__dict__.get("call") for layer in layers]
    try:
        for layer in layers:
            # Past Keras's __setattr__, which would track the function as part of the layer.
            layer.__dict__["call"] = _watched(layer, layer.call, calls)
        yield calls
    finally:
        for layer, call in zip(layers, own):
            layer.__dict__.pop("call", None)
            if call is not None:
                layer.__dict__["call"] = call


def _watched(layer, original, calls):
    def call(*args, **kwargs):
        outputs = original(*args, **kwargs)
        calls.append(LayerCall(layer, args, kwargs, outputs))
        return outputs

    return call
