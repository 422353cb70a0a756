"""Which variables a compiled function might write, and putting them back, bit for bit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf


def moved_variables(graph: tf.Graph) -> list[tf.Variable]:
    """Return the variables a traced function might write: all it reads, if it writes any.

    In inference only a stateful recurrent layer, or a layer of the user's, writes at all.
    """
    definition = graph.as_graph_def()
    nodes = [node.op for node in definition.node]
    nodes += [node.op for function in definition.library.function for node in function.node_def]
    return list(graph.variables) if any(op.startswith("Assign") for op in nodes) else []


@contextlib.contextmanager
def kept(variables: Sequence[tf.Variable]) -> Iterator[None]:
    """Put ``variables`` back, bit for bit, at the end of the block, also after an exception.

    Args:
        variables: What the block may write.

    Example:
        >>> w = tf.Variable(1.0)
        >>> with kept([w]):
        ...     _ = w.assign(2.0)
        >>> float(w)
        1.0
    """
    copies = [tf.identity(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, copies):
            variable.assign(value)
