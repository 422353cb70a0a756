"""Frees the graphs of functions that nobody can call any more; TensorFlow 2.15 keeps every one for ever."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import tensorflow as tf


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Tells Python's garbage collector not to look at what is there now, half a million objects of TensorFlow's own.

    Looking takes it a quarter of a second each time, which a search does after every trial.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def free_left_graphs() -> int:
    """Dismantles the graphs of `tf.function`s that no Python object refers to, and returns how many there were.

    A function's graph and its operations refer to one another in C++, where Python's garbage collector does not see
    it. TensorFlow takes them apart for functions asked for by `get_concrete_function`, and leaves those of functions
    that were called, such as Keras's train function: some MiB for each model that was ever trained in a process
    (seen with plain Keras too). A graph that anything but its own operations refers to is left alone.
    """
    freed = 0
    while True:  # a graph may hold those of its branches and loops
        gc.collect()
        left = _left_graphs()
        if not left:
            return freed
        for graph in left:
            _dismantle(graph)
        freed += len(left)
        del graph, left


def _left_graphs() -> list[Any]:
    """Graphs with operations that only these refer to."""
    # type(), for isinstance would take a weak proxy for what it stands for.
    graphs = [
        one
        for one in gc.get_objects()
        if issubclass(type(one), tf.__internal__.FuncGraph)
        and hasattr(one, "Dismantle")
        and one.get_operations()
    ]
    held: set[int] = set()
    for referrer in gc.get_referrers(*graphs):
        if referrer is not graphs and not issubclass(type(referrer), (tf.Operation, tf.Tensor)):
            held.update(id(one) for one in gc.get_referents(referrer))
    return [one for one in graphs if id(one) not in held]


def _dismantle(graph: Any) -> None:
    """As TensorFlow's own `dismantle_func_graph`, which has no public name and keeps the captured variables."""
    graph._functions.clear()
    graph.Dismantle()
    graph._function_captures = type(graph._function_captures)()
    graph.inputs, graph.outputs, graph.structured_outputs = [], [], None
