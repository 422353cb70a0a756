"""Which weights `layers=` means: the output layer's, those of the last n layers, of named layers, or all."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf


def variables_of(model: tf.keras.Model, layers: str | Sequence[str]) -> list[tf.Variable]:
    """Return the trainable variables, in the model's order, of the layers named (nested ones too), or of "all"."""
    if layers == "all":
        chosen = list(model.trainable_variables)
    else:
        names = [layers] if isinstance(layers, str) else list(layers)
        parts = [part for part in model.submodules if isinstance(part, tf.keras.layers.Layer)]
        known = {part.name: part for part in [*parts, *model.layers]}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(
                f"layers={layers!r}: the model has no layer {unknown}. Give "
                f'"output", "last_2" (or another number), "all", or names among {sorted(known)}'
            )
        inside = {id(v) for name in names for v in known[name].trainable_variables}
        chosen = [v for v in model.trainable_variables if id(v) in inside]
    if not chosen:
        raise ValueError(f"layers={layers!r} selects no trainable variable of {model.name!r}")
    return chosen


def check_layers(layers: str | Sequence[str]) -> None:
    """Raises for what names no layers: "last_0", nothing, or something else than names."""
    names = [layers] if isinstance(layers, str) else layers
    several = isinstance(names, (list, tuple)) and len(names) > 0
    if not several or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f'layers={layers!r} must be "output", "last_2" (or another number), "all", or one or more names of layers'
        )
    last_count(layers)


def last_count(layers: str | Sequence[str]) -> int | None:
    """Return how many of the last weighted layers are meant: n for "last_n", 1 for "output", else None."""
    if layers == "output":
        return 1
    match = re.fullmatch(r"last_(\d+)", layers) if isinstance(layers, str) else None
    if match and int(match[1]) < 1:
        raise ValueError(f'layers={layers!r}: give a number of layers, 1 or more, as in "last_2"')
    return int(match[1]) if match else None


def last_variables(called: Sequence[tf.keras.layers.Layer], count: int) -> list[tf.Variable]:
    """Return the trainable weights of the last `count` layers called that have a trainable kernel, in that order.

    A kernel is a weight of rank 2 or more: normalisation between two convolutions does not count, and is not part of
    the block. Where no layer has a kernel, layers with any trainable weight count. A layer's last call is what counts.

    Raises:
        ValueError: Fewer such layers are called.
    """
    order = {id(layer): layer for layer in reversed(called) if layer.trainable_weights}
    trainable = list(order.values())[::-1]
    with_kernel = [
        layer for layer in trainable if any(w.shape.rank >= 2 for w in layer.trainable_weights)
    ]
    weighted = with_kernel or trainable
    layers = "output" if count == 1 else f"last_{count}"
    if not weighted:
        raise ValueError(
            f'layers="{layers}" needs a trainable layer, and no layer that the model calls has '
            "trainable weights: unfreeze the output layer (layer.trainable = True)"
        )
    if len(weighted) < count:
        raise ValueError(
            f'layers="{layers}": the model calls {len(weighted)} layers with a trainable kernel: '
            f'give "last_{len(weighted)}" or less, or "all"'
        )
    return [weight for layer in weighted[-count:] for weight in layer.trainable_weights]


@contextlib.contextmanager
def watched_calls(model: tf.keras.Model) -> Iterator[list[tuple[tf.keras.layers.Layer, tuple]]]:
    """Note which layers a model calls inside the `with` block, and with what positional arguments.

    It is for models whose code alone knows the order of their layers. A layer that is made of layers counts as one
    layer, a model inside the model as its layers. Each layer's `call` is put back also after an exception.
    """
    calls: list[tuple[tf.keras.layers.Layer, tuple]] = []
    layers = _leaves(model)
    own = {id(layer): vars(layer).get("call") for layer in layers}
    try:
        for layer in layers:
            layer.call = _watched(layer, layer.call, calls)
        yield calls
    finally:
        for layer in layers:
            vars(layer).pop("call", None)
            if own[id(layer)] is not None:
                layer.call = own[id(layer)]


def _watched(layer, call, calls):
    def watched(*args: Any, **kwargs: Any):
        calls.append((layer, args))
        return call(*args, **kwargs)

    return watched


def _leaves(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """Return a model's layers, those of models inside it in their model's place, each once."""
    leaves: dict[int, tf.keras.layers.Layer] = {}
    for layer in model.layers:
        inside = _leaves(layer) if isinstance(layer, tf.keras.Model) else [layer]
        leaves.update({id(leaf): leaf for leaf in inside})
    return list(leaves.values())
