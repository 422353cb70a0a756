"""The graph that Keras keeps of a functional or Sequential model: which layer is called, with which tensors."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

#: The ways in which Keras itself runs a graph of layers; a class with another `call` may do anything, unless its
#: `call_runs_graph` is true.
_GRAPH_CALLS = (tf.keras.Sequential.call, tf.keras.Sequential.__base__.call)


class Uncuttable(Exception):
    """Why a model cannot be cut; the message completes "the model cannot be cut because ..."."""


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """A tensor of the graph: its shape, its type, and whether a mask comes with it."""

    shape: tf.TensorShape
    dtype: tf.DType
    masked: bool

    @property
    def sample_bytes(self) -> int:
        """The size of one sample; dimensions that are not known count as 1."""
        sizes = self.shape[1:] if self.shape.rank else ()
        return self.dtype.size * math.prod(size or 1 for size in sizes)


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
        return places_in((self.args, self.kwargs))

    @property
    def writes(self) -> list[Place]:
        """The places that the call computes."""
        return places_in(self.outputs)


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
    """Read a model's calls, and those of functional models inside it, off Keras's graph, or raise `Uncuttable`."""
    if not _is_functional(model):
        raise Uncuttable("its class has a `call` of its own, not a graph of layers")
    inputs = [Place(tensor.shape, tensor.dtype, False) for tensor in model.inputs]
    calls: list[Call] = []
    return Graph(inputs, calls, _follow(model, inputs, calls))


def _is_functional(model: Any) -> bool:
    is_graph = isinstance(model, tf.keras.Model) and bool(getattr(model, "outputs", None))
    runs_graph = type(model).call in _GRAPH_CALLS or getattr(model, "call_runs_graph", False)
    return is_graph and runs_graph


def _follow(model: tf.keras.Model, inputs: Sequence[Place], calls: list[Call]) -> Any:
    """Append the calls of a functional model that reads `inputs`, and return the places of its outputs."""
    places = {id(tensor): place for tensor, place in zip(model.inputs, inputs)}

    def place(leaf):
        return places.get(id(leaf), leaf)

    for node in _nodes(model):
        args, kwargs = tf.nest.map_structure(place, (node.call_args, node.call_kwargs))
        if _can_follow(node.layer, args, kwargs):
            outputs = _follow(node.layer, places_in(args), calls)
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
    tensors = places_in(args)
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


def places_in(structure: Any) -> list[Place]:
    """Return the places among the leaves of a structure."""
    return [leaf for leaf in tf.nest.flatten(structure) if isinstance(leaf, Place)]
