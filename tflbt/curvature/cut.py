"""Cut a model where the layers chosen begin: what is run once, and what is run again and again.

One trace of the model is recorded. The *block* is the layers whose curvature is asked for. The calls of
its layers and all that depend on them are the *head*; every other tensor the head needs is a *feature*,
computed once. So functional, Sequential, nested and subclassed models are cut alike, and paths around
the block, several outputs and masks are features like any other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tflbt.curvature.recording import LayerCall


class Uncuttable(Exception):
    """Why a model cannot be cut; the message completes "the model cannot be cut because ..."."""


@dataclasses.dataclass(frozen=True)
class Slot:
    """The place of a tensor in the head: ``kind`` is "feature" or "produced" (by the head)."""

    kind: str
    index: int


@dataclasses.dataclass(frozen=True, eq=False)
class HeadCall:
    """A layer call of the head, its tensors replaced by slots, and where its outputs go."""

    layer: tf.keras.layers.Layer
    args: tuple
    kwargs: dict[str, Any]
    produces: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Cut:
    """How to compute a model's outputs from features.

    Args:
        variables: The weights of the block, that the Hessian is taken over.
        layers: The layers that own them, in the order called.
        calls: The head, in order.
        outputs: The model's outputs as slots.
        features: The symbolic tensors of the trace that are run once.
        sample_bytes: What the tensors of the head, features included, take for one sample.
    """

    variables: tuple[tf.Variable, ...]
    layers: tuple[tf.keras.layers.Layer, ...]
    calls: tuple[HeadCall, ...]
    outputs: Any
    features: tuple[tf.Tensor, ...]
    sample_bytes: int

    @property
    def saves_nothing(self) -> bool:
        """Whether the head starts at the model's own inputs."""
        return all(tensor.op.type == "Placeholder" for tensor in self.features)


def inputs_of(
    calls: Sequence[LayerCall], layer: tf.keras.layers.Layer, graph: tf.Graph
) -> list[tf.Tensor]:
    """Return the tensors of ``graph`` that the last call of ``layer`` was given, if it was called."""
    args = [call.args for call in calls if call.layer is layer][-1:]
    return [tensor for tensor in _tensors(args) if tensor.graph is graph]


def owners(
    calls: Sequence[LayerCall], variables: Sequence[tf.Variable]
) -> list[tf.keras.layers.Layer]:
    """Return the called layers that own any of the variables, each once, in the order called."""
    chosen = {id(variable) for variable in variables}
    own = [c.layer for c in calls if chosen & {id(w) for w in c.layer.trainable_weights}]
    return list({id(layer): layer for layer in own}.values())


def cut(
    calls: Sequence[LayerCall], outputs: Any, graph: tf.Graph, variables: Sequence[tf.Variable]
) -> Cut:
    """Divide a recorded trace into features and head.

    Args:
        calls: The recorded calls.
        outputs: What the model returned.
        graph: The graph of the trace.
        variables: The weights of the block.

    Returns:
        The cut.

    Raises:
        Uncuttable: A weight belongs to no layer called, or something between the block
            and the outputs is no layer call, or happens in a loop or a branch.
    """
    layers = owners(calls, variables)
    owned = {id(weight) for layer in layers for weight in layer.trainable_weights}
    for variable in variables:
        if id(variable) not in owned:
            raise Uncuttable(
                f"weight {variable.name!r} belongs to no layer that it calls by itself"
            )
    slicer = _Slicer(graph)
    block, mine, head = {id(layer) for layer in layers}, [], []
    for call in calls:
        if id(call.layer) in block or slicer.depends(call):
            mine.append(call)
            head.append(slicer.add(call))
    slots = tf.nest.map_structure(slicer.slot, outputs)
    if any(getattr(output, "_keras_mask", None) is not None for output in tf.nest.flatten(outputs)):
        raise Uncuttable("its output carries a mask")
    features = tuple(slicer.features.values())
    size = _sample_bytes(
        [*features, *(tensor for call in mine for tensor in _tensors(call.outputs))]
    )
    return Cut(tuple(variables), tuple(layers), tuple(head), slots, features, size)


class _Slicer:
    """Walks the recorded calls and says of each tensor where the head gets it from."""

    def __init__(self, graph: tf.Graph):
        """Start with nothing produced."""
        self._graph = graph
        self._produced: dict[str, int] = {}
        self.features: dict[str, tf.Tensor] = {}

    def add(self, call: LayerCall) -> HeadCall:
        """Take a call into the head."""
        args, kwargs = tf.nest.map_structure(self.slot, (call.args, call.kwargs))
        return HeadCall(call.layer, args, kwargs, tuple(self._produce(call.outputs)))

    def depends(self, call: LayerCall) -> bool:
        """Whether a call reads anything the head has produced so far."""
        tensors = [leaf for leaf in _tensors((call.args, call.kwargs)) if leaf.graph is self._graph]
        return any(self._reaches(tensor) for tensor in tensors)

    def slot(self, leaf: Any) -> Any:
        """Replace a tensor by where the head gets it from; leave anything else."""
        if not tf.is_tensor(leaf) or isinstance(leaf, tf.Variable):
            return leaf
        self._check_graph(leaf)
        origin = self._before_casts(leaf)
        if origin.name in self._produced:
            return Slot("produced", self._produced[origin.name])
        if self._reaches(leaf):
            raise Uncuttable(
                f"operations outside any layer ({leaf.op.type}) lie between the layers "
                "chosen and its output"
            )
        return Slot("feature", self._feature(leaf))

    def _produce(self, outputs: Any) -> Iterable[int]:
        for tensor in tf.nest.flatten(outputs):
            self._check_graph(tensor)
            yield self._produced.setdefault(tensor.name, len(self._produced))

    def _feature(self, tensor: tf.Tensor) -> int:
        if tensor.shape.rank in (None, 0) or tensor.shape[0] is not None:
            raise Uncuttable(f"its head needs {tensor.name}, which is not one value a sample")
        self.features.setdefault(tensor.name, tensor)
        return list(self.features).index(tensor.name)

    def _check_graph(self, tensor: tf.Tensor) -> None:
        if getattr(tensor, "graph", None) is not self._graph:
            raise Uncuttable("its last layers are called inside a loop or a branch")

    def _before_casts(self, tensor: tf.Tensor) -> tf.Tensor:
        """Follow a tensor back through float casts (mixed precision) to a produced one."""
        while tensor.name not in self._produced and tensor.op.type in ("Cast", "Identity"):
            before = tensor.op.inputs[0]
            if tensor.dtype != before.dtype and not before.dtype.is_floating:
                break
            tensor = before
        return tensor

    def _reaches(self, tensor: tf.Tensor) -> bool:
        """Whether ``tensor`` is computed from anything the head produces."""
        waiting, seen = [tensor], set()
        while waiting:
            current = waiting.pop()
            if current.name in self._produced:
                return True
            if current.op.name not in seen:
                seen.add(current.op.name)
                waiting.extend(current.op.inputs)
        return False


def _tensors(structure: Any) -> list[tf.Tensor]:
    return [
        leaf
        for leaf in tf.nest.flatten(structure)
        if tf.is_tensor(leaf) and hasattr(leaf, "graph") and not isinstance(leaf, tf.Variable)
    ]


def _sample_bytes(tensors: Iterable[tf.Tensor]) -> int:
    sizes = [math.prod(d or 1 for d in (t.shape[1:] if t.shape.rank else ())) for t in tensors]
    return sum(size * tensor.dtype.size for size, tensor in zip(sizes, tensors))
