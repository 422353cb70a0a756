"""Cut a functional model where chosen layers begin: a body that runs once, and a head that runs at every product.

Keras keeps the graph of a functional or Sequential model: which layer is called, with which tensors. The *block* is
the layers whose curvature is wanted. Their calls and all calls that depend on them are the *head*; every other tensor
that the head needs is a *feature*, which the *body* computes. Functional models inside the model are followed into, so
that paths around the block, shared layers and several outputs need no care of their own.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

#: The ways in which Keras itself runs a graph of layers; a class with another `call` may do anything.
_GRAPH_CALLS = (tf.keras.Sequential.call, tf.keras.Sequential.__base__.call)


class Uncuttable(Exception):
    """Why a model cannot be cut; the message completes "the model cannot be cut because ..."."""


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """A tensor of the graph: its shape, its type, and whether a mask comes with it."""

    shape: tf.TensorShape
    dtype: tf.DType
    masked: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer, with places instead of tensors."""

    layer: tf.keras.layers.Layer
    args: Any
    kwargs: Any
    outputs: Any

    @property
    def reads(self) -> list[Place]:
        """The places that the call reads."""
        return _places((self.args, self.kwargs))

    @property
    def writes(self) -> list[Place]:
        """The places that the call computes."""
        return _places(self.outputs)


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """The calls of a functional model in the order in which Keras makes them, from inputs to outputs."""

    inputs: list[Place]
    calls: list[Call]
    outputs: Any

    @property
    def layers(self) -> list[tf.keras.layers.Layer]:
        """The layer of each call; a layer that is called twice appears twice."""
        return [call.layer for call in self.calls]


def graph_of(model: tf.keras.Model) -> Graph:
    """Read a model's calls off the graph that Keras keeps; nothing is run, and nothing is changed.

    Args:
        model: A built model.

    Returns:
        The graph, with the calls of functional models inside the model in these models' place.

    Raises:
        Uncuttable: The model's class has a `call` of its own.

    Example:
        >>> inner = tf.keras.Sequential([tf.keras.layers.Dense(2, name="a", input_shape=(3,))])
        >>> outer = tf.keras.Sequential([inner, tf.keras.layers.Dense(1, name="b")])
        >>> [layer.name for layer in graph_of(outer).layers]
        ['a', 'b']
    """
    if not _is_functional(model):
        raise Uncuttable("its class has a `call` of its own, not a graph of layers")
    inputs = [Place(tensor.shape, tensor.dtype, False) for tensor in model.inputs]
    calls: list[Call] = []
    return Graph(inputs, calls, _follow(model, inputs, calls))


class Halves:
    """A functional model in two parts.

    Args:
        model: A built model.
        graph: Its graph.
        variables: The weights of the block, which the Hessian is taken over.

    Attributes:
        body: Computes the features, one tensor per feature, from the model's inputs, in inference mode.
        layers: The layers that own the weights, in the order in which they are called.
        features: The places that the body computes and the head reads.
        saves_nothing: Whether the head starts at the model's own inputs.
        sample_bytes: The size of the head's tensors for one sample, features included.

    Raises:
        Uncuttable: A weight belongs to no layer of the graph, or a mask enters or leaves the head.
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
        places = [place for call in self.calls for place in (*call.reads, *call.writes)]
        if any(place.masked for place in (*places, *_places(self.outputs))):
            raise Uncuttable("a mask goes with the tensors of its last layers")
        if any(not place.shape.rank for place in self.features):
            raise Uncuttable("its last layers need a tensor that is not one row per sample")
        written = [place for call in self.calls for place in call.writes]
        self.sample_bytes = sum(map(_bytes, {*self.features, *written}))
        self.saves_nothing = set(self.features) <= set(graph.inputs)
        self.body = _body(model, graph, set(self.calls), self.features)

    def specs(self) -> list[tf.TensorSpec]:
        """Return the features' shapes and types as they are stored, with any number of samples."""
        stored = float_type(self.layers)
        return [
            tf.TensorSpec(
                [None, *place.shape[1:]], stored if place.dtype.is_floating else place.dtype
            )
            for place in self.features
        ]

    def block_inputs(self, features: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Return those features that the block's last layer reads."""
        reads = next(call.reads for call in self.calls if call.layer is self.layers[-1])
        return [tensor for place, tensor in zip(self.features, features) if place in reads]


class Head:
    """A head on copied layers, with weights of its own that may be moved, in float32 or float64.

    Layers with weights are made again by `from_config` in the type wanted, whatever the model's precision policy is.
    Layers without weights that compute in that type already are used as they are.

    Args:
        halves: Where the model is cut.
        dtype: The type to compute in.

    Attributes:
        variables: The copies of the block's weights.

    Raises:
        Uncuttable: A layer cannot be made again from its config, or its copy does not run.
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


def _is_functional(model: Any) -> bool:
    is_graph = isinstance(model, tf.keras.Model) and bool(getattr(model, "outputs", None))
    return is_graph and type(model).call in _GRAPH_CALLS


def _follow(model: tf.keras.Model, inputs: Sequence[Place], calls: list[Call]) -> Any:
    """Append the calls of a functional model that reads `inputs`, and return the places of its outputs."""
    places = {id(tensor): place for tensor, place in zip(model.inputs, inputs)}

    def place(leaf):
        return places.get(id(leaf), leaf)

    for node in _nodes(model):
        args, kwargs = tf.nest.map_structure(place, (node.call_args, node.call_kwargs))
        if _can_follow(node.layer, args, kwargs):
            outputs = _follow(node.layer, _places(args), calls)
        else:
            index = node.layer.inbound_nodes.index(node)
            masks = tf.nest.flatten(node.layer.get_output_mask_at(index))
            masked = any(mask is not None for mask in masks)
            flat = [Place(t.shape, t.dtype, masked) for t in tf.nest.flatten(node.outputs)]
            outputs = tf.nest.pack_sequence_as(node.outputs, flat)
            calls.append(Call(node.layer, args, kwargs, outputs))
        places.update(zip(map(id, tf.nest.flatten(node.outputs)), tf.nest.flatten(outputs)))
    return tf.nest.map_structure(place, model.output)


def _nodes(model: tf.keras.Model) -> list[Any]:
    """Return the nodes of a functional model in the order in which Keras runs them: the deepest first."""
    found: dict[Any, None] = {}

    def visit(node):
        if node not in found:
            for parent in node.parent_nodes:
                visit(parent)
            found[node] = None

    for tensor in model.outputs:
        visit(tensor.node)
    depths: dict[Any, int] = {}
    layer_depths: dict[int, int] = {}
    for node in reversed(found):
        depth = max(depths.get(node, 0), layer_depths.get(id(node.layer), 0))
        depths[node] = layer_depths[id(node.layer)] = depth
        for parent in node.parent_nodes:
            depths[parent] = max(depth + 1, depths.get(parent, 0))
    order = sorted(depths, key=lambda node: -depths[node])
    return [node for node in order if not node.is_input]


def _can_follow(layer: Any, args: Any, kwargs: Any) -> bool:
    """Whether a call is that of a functional model on tensors that fit its inputs, and on nothing else."""
    tensors = _places(args)
    return (
        _is_functional(layer)
        and not isinstance(args[0], dict)
        and all(leaf is None or leaf is False for leaf in tf.nest.flatten((args[1:], kwargs)))
        and len(tensors) == len(tf.nest.flatten(args[0])) == len(layer.inputs)
        and all(
            place.shape.rank == tensor.shape.rank
            and (place.dtype == tensor.dtype or place.dtype.is_floating == tensor.dtype.is_floating)
            for place, tensor in zip(tensors, layer.inputs)
        )
    )


def _head_of(graph: Graph, layers: Sequence[Any]) -> tuple[list[Call], list[Place]]:
    """Return the calls of `layers` and all that depend on them, and what these need from elsewhere."""
    block = {id(layer) for layer in layers}
    head: list[Call] = []
    computed: set[Place] = set()
    for call in graph.calls:
        if id(call.layer) in block or computed & set(call.reads):
            head.append(call)
            computed.update(call.writes)
    needed = [place for call in head for place in call.reads] + _places(graph.outputs)
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


def _places(structure: Any) -> list[Place]:
    return [leaf for leaf in tf.nest.flatten(structure) if isinstance(leaf, Place)]


def _bytes(place: Place) -> int:
    sizes = place.shape[1:] if place.shape.rank else ()
    return place.dtype.size * math.prod(size or 1 for size in sizes)
