"""Sparse and ragged tensors beside arrays: they travel as the numbers of their samples, and rows are gathered late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.data.forms import COMPOSITE, count


def numbered(arrays: Any) -> tuple[Any, Callable[..., Any] | None]:
    """Replaces sparse and ragged tensors by the numbers 0 .. N - 1 of their samples, which can be dealt like any array.

    Returns:
        The arrays, and what turns a batch of them back into a batch with the tensors' samples; None if there are none.

    Example:
        >>> arrays, restored = numbered((tf.ragged.constant([[1], [2, 3], [4]]), np.arange(3)))
        >>> restored(*[part[1:] for part in arrays])[0].to_list()
        [[2, 3], [4]]
    """
    leaves = tf.nest.flatten(arrays)
    if not any(isinstance(leaf, COMPOSITE) for leaf in leaves):
        return arrays, None
    rows = [_rows(leaf) for leaf in leaves]
    numbers = [np.arange(count(leaf)) if take else leaf for leaf, take in zip(leaves, rows)]

    @tf.autograph.experimental.do_not_convert
    def restored(*batch: Any) -> Any:
        parts = [take(part) if take else part for take, part in zip(rows, tf.nest.flatten(batch))]
        return tf.nest.pack_sequence_as(batch, parts)

    return tf.nest.pack_sequence_as(arrays, numbers), restored


def _rows(leaf: Any) -> Callable[[tf.Tensor], Any] | None:
    """A function that gathers samples of a sparse or ragged tensor; None for an array."""
    if isinstance(leaf, tf.RaggedTensor):
        return lambda chosen: tf.gather(leaf, chosen)
    return sparse_rows(leaf) if isinstance(leaf, tf.SparseTensor) else None


def sparse_rows(whole: tf.SparseTensor) -> Callable[[tf.Tensor], tf.SparseTensor]:
    """A function that gathers samples of a sparse tensor, in any order."""
    whole = tf.sparse.reorder(whole)
    samples, *rest = whole.shape
    entries = tf.RaggedTensor.from_value_rowids(
        tf.range(tf.shape(whole.values)[0]), whole.indices[:, 0], samples
    )

    def gathered(chosen: tf.Tensor) -> tf.SparseTensor:
        places = tf.gather(entries, chosen)
        inside = tf.gather(whole.indices[:, 1:], places.values)
        indices = tf.concat([places.value_rowids()[:, None], inside], axis=1)
        number = tf.shape(chosen, tf.int64)[0]
        shape = tf.stack([number, *(tf.constant(size, tf.int64) for size in rest)])
        return tf.SparseTensor(indices, tf.gather(whole.values, places.values), shape)

    return gathered
