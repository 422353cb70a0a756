"""Frees the graphs of functions that can no longer be called; TensorFlow 2.15 keeps every such graph for ever."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import tensorflow as tf


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Makes Python's garbage collector ignore the objects that exist now, half a million of TensorFlow's own.

    Looking at them takes it a quarter of a second each time, and a search collects garbage after every trial. Where
    some are ignored already, as in a process that called `gc.freeze`, nothing changes.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def free_left_graphs() -> int:
    """Dismantles the graphs of `tf.function`s that no Python object refers to, and returns their number.

    A function's graph and its operations refer to one another in C++, where Python's garbage collector cannot see it.
    TensorFlow dismantles the graphs of functions from `get_concrete_function`, but not those of functions that were
    called, such as Keras's train function: some MiB for each model that was ever trained in a process (also with plain
    Keras). A graph that anything but its own operations refers to is left alone.
    """
    freed = 0
    while True:  # a graph may hold the graphs of its branches and loops
        gc.collect()
        left = _left_graphs()
        if not left:
            return freed
        for graph in left:
            _dismantle(graph)
        freed += len(left)
        del graph, left


def _left_graphs() -> list[Any]:
    """Returns the graphs with operations to which only these operations refer."""
    # type(), because isinstance takes a weak proxy for the object that it stands for.
    graphs = [
        graph
        for graph in gc.get_objects()
        if issubclass(type(graph), tf.__internal__.FuncGraph)
        and hasattr(graph, "Dismantle")
        and graph.get_operations()
    ]
    referenced: set[int] = set()
    for referrer in gc.get_referrers(*graphs):
        if referrer is not graphs and not issubclass(type(referrer), (tf.Operation, tf.Tensor)):
            referenced.update(map(id, gc.get_referents(referrer)))
    return [graph for graph in graphs if id(graph) not in referenced]


def _dismantle(graph: Any) -> None:
    """Does what TensorFlow's `dismantle_func_graph` does, which has no public name and keeps the captured variables."""
    graph._functions.clear()
    graph.Dismantle()
    graph._function_captures = type(graph._function_captures)()
    graph.inputs, graph.outputs, graph.structured_outputs = [], [], None
