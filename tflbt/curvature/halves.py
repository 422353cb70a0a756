"""Cut a functional model where chosen layers begin: a body that runs once, and a head that runs at every product.

The *block* is the layers whose curvature is wanted. Their calls in the model's graph and all calls that depend on them
are the *head*; every other tensor that the head needs is a *feature*, which the *body* computes. Functional models
inside the model are followed into, so that paths around the block, shared layers and several outputs need no care of
their own.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from tflbt.curvature.layer_graph import Call, Graph, Place, Uncuttable, places_in
from tflbt.curvature.layer_graph import graph_of as graph_of


class Halves:
    """A functional model in two parts, cut where the layers that own `variables` begin.

    `body` computes the `features` (places that the head reads, one tensor each) from the model's inputs, in inference
    mode. The head saves nothing where it starts at these inputs; its tensors take `sample_bytes` for one sample. Raises
    `Uncuttable` if a weight belongs to no layer of the graph, or a mask enters or leaves the head.
    """

    def __init__(
        self, model: tf.keras.Model, graph: Graph, variables: Sequence[tf.Variable]
    ) -> None:
        self.variables = list(variables)
        self.layers = owners(graph.layers, variables)
        weights = {id(weight) for layer in self.layers for weight in layer.trainable_weights}
        for variable in variables:
            if id(variable) not in weights:
                raise Uncuttable(f"weight {variable.name!r} belongs to no layer of its graph")
        self.calls, self.features = _head_of(graph, self.layers)
        self.outputs = graph.outputs
        read = [place for call in self.calls for place in call.reads]
        written = [place for call in self.calls for place in call.writes]
        if any(place.masked for place in (*read, *written, *places_in(self.outputs))):
            raise Uncuttable("a mask goes with the tensors of its last layers")
        if any(not place.shape.rank for place in self.features):
            raise Uncuttable("its last layers need a tensor that is not one row per sample")
        self.sample_bytes = sum(place.sample_bytes for place in {*self.features, *written})
        self.saves_nothing = set(self.features) <= set(graph.inputs)
        self.body = _body(model, graph, set(self.calls), self.features)

    def specs(self) -> list[tf.TensorSpec]:
        """Return the features' shapes and types as they are stored, with any number of samples."""
        stored = float_type(self.layers)
        return [
            tf.TensorSpec([None, *p.shape[1:]], stored if p.dtype.is_floating else p.dtype)
            for p in self.features
        ]

    def block_inputs(self, features: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Return those features that the block's last layer reads."""
        reads = next(call.reads for call in self.calls if call.layer is self.layers[-1])
        return [tensor for place, tensor in zip(self.features, features) if place in reads]


class Head:
    """A head on copied layers, with weights of its own that may be moved, in float32 or float64.

    Layers with weights are made again by `from_config` in the type wanted, whatever the model's precision policy is, or
    `Uncuttable` is raised. Layers without weights that compute in that type already are used as they are. `variables`
    are the copies of the block's weights.
    """

    def __init__(self, halves: Halves, dtype: tf.DType) -> None:
        self.dtype = dtype
        layers = {id(call.layer): call.layer for call in halves.calls}
        state = random.getstate()  # Keras draws the seeds of initialisers from it.
        try:
            copies = {key: _copy(layer, dtype) for key, layer in layers.items()}
            run = _runner(halves.features, halves.calls, halves.outputs, copies)
            self._layer = _Part(list(copies.values()), run)
            # A lambda, because tf.function would reference a bound method weakly.
            tf.function(lambda features: self(features)).get_concrete_function(halves.specs())
        except Uncuttable:
            raise
        except Exception as error:
            raise Uncuttable(f"a copy of its last layers does not run ({error})") from error
        finally:
            random.setstate(state)
        pairs = [_weight_pairs(copies[key], layer) for key, layer in layers.items()]
        self._pairs = [pair for layer_pairs in pairs for pair in layer_pairs]
        copied = {id(original): own for own, original in self._pairs}
        self.variables = [copied[id(variable)] for variable in halves.variables]

    def load(self) -> None:
        """Copy the model's current weights into the head."""
        for own, original in self._pairs:
            own.assign(tf.cast(tf.convert_to_tensor(original), self.dtype))

    def __call__(self, features: Sequence[tf.Tensor]) -> Any:
        """Return the model's outputs in inference mode, from features as they are stored."""
        features = [tf.cast(x, self.dtype) if x.dtype.is_floating else x for x in features]
        return self._layer(features, training=False)

    @property
    def losses(self) -> list[tf.Tensor]:
        """The loss terms of the layers, activity regularisers as of the last call."""
        return self._layer.losses


class _Part(tf.keras.layers.Layer):
    """Runs calls of layers in inference mode, whatever the layers' own default is."""

    def __init__(self, layers: list[tf.keras.layers.Layer], run: Callable[[Any], Any]) -> None:
        super().__init__(autocast=False)
        self.parts = layers
        self.run = run

    def call(self, tensors, training=False):
        """Run the calls; Keras hands `training` on to every layer."""
        return self.run(tensors)


def owners(
    layers: Iterable[tf.keras.layers.Layer], variables: Iterable[tf.Variable]
) -> list[tf.keras.layers.Layer]:
    """Return the layers that own any of the variables, each once."""
    chosen = {id(variable) for variable in variables}
    own = [layer for layer in layers if chosen & {id(w) for w in layer.trainable_weights}]
    return list({id(layer): layer for layer in own}.values())


def float_type(layers: Iterable[tf.keras.layers.Layer]) -> tf.DType:
    """Return the type that features are stored in: float64 if any weights are float64, else float32."""
    doubles = any(layer.variable_dtype == "float64" for layer in layers)
    return tf.float64 if doubles else tf.float32


def _head_of(graph: Graph, layers: Sequence[Any]) -> tuple[list[Call], list[Place]]:
    """Return the calls of `layers` and all that depend on them, and what these need from elsewhere."""
    block = {id(layer) for layer in layers}
    head: list[Call] = []
    computed: set[Place] = set()
    for call in graph.calls:
        if id(call.layer) in block or computed & set(call.reads):
            head.append(call)
            computed.update(call.writes)
    needed = [place for call in head for place in call.reads] + places_in(graph.outputs)
    return head, list(dict.fromkeys(place for place in needed if place not in computed))


def _body(model, graph: Graph, head: set[Call], features: list[Place]) -> Callable[[Any], Any]:
    """Return what computes the features from the model's inputs, by the model's own layers."""
    needed, calls = set(features), []
    for call in reversed(graph.calls):
        if call not in head and needed & set(call.writes):
            calls.append(call)
            needed.update(call.reads)
    layers = {id(call.layer): call.layer for call in calls}
    part = _Part(list(layers.values()), _runner(graph.inputs, calls[::-1], list(features), layers))
    inputs = tf.keras.Model(model.input, model.inputs)  # Casts and names inputs as the model does.
    return lambda x: part(tf.nest.flatten(inputs(x)), training=False)


def _runner(inputs, calls, outputs, layers) -> Callable[[Any], Any]:
    """Return a function that makes calls on the tensors at `inputs` and returns those at `outputs`."""

    def run(tensors):
        values = dict(zip(inputs, tensors))

        def value(leaf):
            return values[leaf] if isinstance(leaf, Place) else leaf

        for call in calls:
            args, kwargs = tf.nest.map_structure(value, (call.args, call.kwargs))
            results = layers[id(call.layer)](*args, **kwargs)
            values.update(zip(tf.nest.flatten(call.outputs), tf.nest.flatten(results)))
        return tf.nest.map_structure(value, outputs)

    return run


def _copy(layer: tf.keras.layers.Layer, dtype: tf.DType) -> tf.keras.layers.Layer:
    if not layer.weights and layer.compute_dtype in (None, dtype.name):
        return layer
    if isinstance(layer, tf.keras.Model):
        raise Uncuttable(
            f"its last layers include the model {layer.name!r}, which cannot be copied"
        )
    try:
        config = _plain_config(copy.deepcopy(layer.get_config()), dtype.name)
        return type(layer).from_config(config)
    except Exception as error:
        reason = f"layer {layer.name!r} is not made again by from_config ({error})"
        raise Uncuttable(reason) from error


def _plain_config(config: Any, dtype: str) -> Any:
    """Set every `dtype`, and every initialiser to zeros: the weights are copied anyway."""
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


def _weight_pairs(copied, layer) -> list[tuple[tf.Variable, tf.Variable]]:
    """Pair the weights of a copy with the originals; none for a layer that is used as it is."""
    if copied is layer:
        return []
    if [tuple(w.shape) for w in copied.weights] != [tuple(w.shape) for w in layer.weights]:
        raise Uncuttable(f"layer {layer.name!r} made from its config has other weights than it")
    return list(zip(copied.weights, layer.weights))
