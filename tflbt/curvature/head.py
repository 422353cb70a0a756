"""A copy of a model's head, in float32 or float64, with weights of its own to be moved."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tflbt.curvature.cut import Cut, HeadCall, Slot, Uncuttable


class Head:
    """The calls from the block to the model's outputs, on copied layers.

    Layers with weights are copied by ``from_config`` in the type asked for, whatever the model's
    precision policy, so the model's own weights are never written and a bfloat16 model is not
    measured in bfloat16. Layers without weights that compute in that type already are used as
    they are.

    Args:
        cut: Where the model is cut.
        dtype: The type to compute in: float32 or float64.

    Raises:
        Uncuttable: A layer cannot be made again from its config.
    """

    def __init__(self, cut: Cut, dtype: tf.DType):
        """Copy the layers and make their weights."""
        self._cut = cut
        self.dtype = dtype
        self._layers = _copies(cut.calls, self.dtype)
        self._build()
        pairs = [_weight_pairs(layer, self._layers[id(layer)]) for layer in self._originals()]
        self._pairs = [pair for layer_pairs in pairs for pair in layer_pairs]
        theirs = {id(original): own for own, original in self._pairs}
        self.variables = [theirs[id(w)] for w in cut.variables]
        self.sample_bytes = cut.sample_bytes

    def load(self) -> None:
        """Copy the model's current weights into the head."""
        for own, original in self._pairs:
            own.assign(tf.cast(tf.convert_to_tensor(original), self.dtype))

    def feature_specs(self) -> list[tf.TensorSpec]:
        """Return shape and type of the features as kept, the number of samples left open."""
        kept = feature_dtype(self._cut.layers)
        return [
            tf.TensorSpec(tensor.shape, kept if tensor.dtype.is_floating else tensor.dtype)
            for tensor in self._cut.features
        ]

    def input_features(self) -> list[int]:
        """Return which features are inputs of the block's last layer."""
        call = next(c for c in self._cut.calls if c.layer is self._cut.layers[-1])
        slots = [leaf for leaf in tf.nest.flatten(call.args) if isinstance(leaf, Slot)]
        return [slot.index for slot in slots if slot.kind == "feature"]

    def __call__(self, features: Sequence[tf.Tensor], losses: list | None = None) -> Any:
        """Return the model's outputs for ``features``, in inference mode.

        Args:
            features: As kept, one tensor a feature.
            losses: Default None; else a list that the layers' own loss terms are added to.
        """
        features = [tf.cast(x, self.dtype) if x.dtype.is_floating else x for x in features]
        produced: dict[int, tf.Tensor] = {}

        def value(leaf):
            if not isinstance(leaf, Slot):
                return leaf
            return features[leaf.index] if leaf.kind == "feature" else produced[leaf.index]

        for call in self._cut.calls:
            args, kwargs = tf.nest.map_structure(value, (call.args, call.kwargs))
            layer = self._layers[id(call.layer)]
            outputs = layer(*args, **kwargs)
            if losses is not None:
                losses.extend(layer.losses)
            produced.update(zip(call.produces, tf.nest.flatten(outputs)))
        return tf.nest.map_structure(value, self._cut.outputs)

    def shares_losses(self) -> bool:
        """Whether a layer with loss terms is called twice, so that they cannot be told apart."""
        called = [call.layer for call in self._cut.calls if call.layer.losses]
        return len({id(layer) for layer in called}) < len(called)

    def _originals(self) -> list[tf.keras.layers.Layer]:
        layers = {id(call.layer): call.layer for call in self._cut.calls if call.layer.weights}
        return list(layers.values())

    def _build(self) -> None:
        """Run the copies once as a graph, which makes the weights of any kind of layer."""
        state = random.getstate()  # Keras draws the seeds of initialisers from it.
        try:
            # Not as an argument: a bound method would have to be weakly referenced.
            tf.function(lambda features: self(features)).get_concrete_function(self.feature_specs())
        except Exception as error:
            raise Uncuttable(f"a copy of its last layers does not run ({error})") from error
        finally:
            random.setstate(state)


def feature_dtype(layers: Sequence[tf.keras.layers.Layer]) -> tf.DType:
    """Return the type features are kept in: float64 if any weights are float64, else float32."""
    doubles = any(layer.variable_dtype == "float64" for layer in layers)
    return tf.float64 if doubles else tf.float32


def _copies(calls: Sequence[HeadCall], dtype: tf.DType) -> dict[int, tf.keras.layers.Layer]:
    copies: dict[int, tf.keras.layers.Layer] = {}
    for call in calls:
        layer = call.layer
        if id(layer) not in copies:
            reusable = not layer.weights and _computes_in(layer, dtype)
            copies[id(layer)] = layer if reusable else _copy(layer, dtype)
    return copies


def _computes_in(layer: tf.keras.layers.Layer, dtype: tf.DType) -> bool:
    return layer.compute_dtype in (None, dtype.name) or not getattr(layer, "_autocast", True)


def _copy(layer: tf.keras.layers.Layer, dtype: tf.DType) -> tf.keras.layers.Layer:
    state = random.getstate()
    try:
        config = _plain_config(copy.deepcopy(layer.get_config()), dtype.name)
        return type(layer).from_config(config)
    except Exception as error:
        raise Uncuttable(f"layer {layer.name!r} is not made again by from_config ({error})") from (
            error
        )
    finally:
        random.setstate(state)


def _plain_config(config: Any, dtype: str) -> Any:
    """Set every ``dtype``, and every initialiser to zeros: the weights are copied anyway."""
    if isinstance(config, (list, tuple)):
        plain_values = [_plain_config(value, dtype) for value in config]
        return tuple(plain_values) if isinstance(config, tuple) else plain_values
    if not isinstance(config, dict):
        return config
    plain = {key: _plain_config(value, dtype) for key, value in config.items()}
    for key in plain:
        if key == "dtype":
            plain[key] = dtype
        elif key.endswith("_initializer") and plain[key] is not None:
            plain[key] = "zeros"
    return plain


def _weight_pairs(layer, clone) -> list[tuple[tf.Variable, tf.Variable]]:
    """Pair the weights of a copy with the originals, or say that they do not correspond."""
    ours = [tuple(w.shape) for w in clone.weights]
    theirs = [tuple(w.shape) for w in layer.weights]
    if ours != theirs:
        raise Uncuttable(f"layer {layer.name!r} made from its config has other weights than it")
    return list(zip(clone.weights, layer.weights))
