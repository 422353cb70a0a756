"""Cut a model at its last weighted layer: what is run once, and what is run again and again.

One trace of the model is recorded. The *output layer* is the last layer called that has a
trainable kernel (a weight of rank 2 or more; biases and normalisation alone do not count). The
calls that depend on it are the *head*; every other tensor the head needs is a *feature*, computed
once. So functional, Sequential, nested and subclassed models are cut alike, and paths around the
output layer, several outputs and masks are features like any other.
"""

from __future__ import annotations

import dataclasses
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
        output_layer: The last weighted layer.
        calls: The head, in order.
        outputs: The model's outputs as slots.
        features: The symbolic tensors of the trace that are run once.
    """

    output_layer: tf.keras.layers.Layer
    calls: tuple[HeadCall, ...]
    outputs: Any
    features: tuple[tf.Tensor, ...]


def find_output_layer(calls: Sequence[LayerCall]) -> tf.keras.layers.Layer:
    """Return the last layer called that has a trainable kernel, or else any trainable weight.

    Args:
        calls: The recorded calls of one trace.

    Returns:
        The layer.

    Raises:
        ValueError: No layer that was called can be trained.
    """
    trainable = [call.layer for call in calls if call.layer.trainable_weights]
    with_kernel = [
        layer for layer in trainable if any(w.shape.rank >= 2 for w in layer.trainable_weights)
    ]
    if not trainable:
        raise ValueError(
            'layers="output" needs a trainable layer, and no layer that the model calls has '
            "trainable weights: unfreeze the output layer (layer.trainable = True)"
        )
    return (with_kernel or trainable)[-1]


def inputs_of(
    calls: Sequence[LayerCall], layer: tf.keras.layers.Layer, graph: tf.Graph
) -> list[tf.Tensor]:
    """Return the tensors of ``graph`` that the last call of ``layer`` was given."""
    args = [call.args for call in calls if call.layer is layer][-1]
    return [tensor for tensor in _tensors(args) if tensor.graph is graph]


def cut(calls: Sequence[LayerCall], outputs: Any, graph: tf.Graph) -> Cut:
    """Divide a recorded trace into features and head.

    Args:
        calls: The recorded calls.
        outputs: What the model returned.
        graph: The graph of the trace.

    Returns:
        The cut.

    Raises:
        Uncuttable: Something between the output layer and the outputs is no layer call,
            or happens in a loop or a branch.
    """
    layer = find_output_layer(calls)
    slicer = _Slicer(graph)
    head = [slicer.add(call) for call in calls if call.layer is layer or slicer.depends(call)]
    slots = tf.nest.map_structure(slicer.slot, outputs)
    if any(getattr(output, "_keras_mask", None) is not None for output in tf.nest.flatten(outputs)):
        raise Uncuttable("its output carries a mask")
    return Cut(layer, tuple(head), slots, tuple(slicer.features.values()))


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
                f"operations outside any layer ({leaf.op.type}) lie between its last weighted "
                "layer and its output"
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
