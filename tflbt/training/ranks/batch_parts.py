"""Real samples before a training: the first batch of what is read, parts of it, and parts put together."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.data import forms

EMPTY = 100  # sub-batches that are passed over, at most, for one that has samples


def first_of(batches: Any) -> tuple[Any, Any]:
    """The first batch, and the batches with it."""
    if isinstance(batches, tf.data.Dataset):
        # A rank's share may begin with empty sub-batches.
        full = (each for each in batches.take(EMPTY) if tf.nest.flatten(each)[0].shape[0])
        return next(full, None), batches
    if isinstance(batches, tf.keras.utils.Sequence):
        return _as_tensors(batches[0]), batches
    batches = iter(batches)
    first = next(batches)
    return _as_tensors(first), itertools.chain([first], batches)


def _as_tensors(batch: Any) -> Any:
    parts = batch if isinstance(batch, (tuple, list)) else (batch,)
    parts = [part for part in parts if part is not None]
    arrays = tuple(forms.as_arrays(part) for part in parts)
    return tf.nest.map_structure(
        lambda leaf: tf.convert_to_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf, arrays
    )


def rows(batch: Any, start: int, number: int) -> Any:
    """Some samples of a batch."""

    def part(leaf: Any) -> Any:
        if isinstance(leaf, tf.SparseTensor):
            rest = [*leaf.shape[1:]]
            return tf.sparse.slice(leaf, [start, *[0] * len(rest)], [number, *rest])
        return leaf[start : start + number]

    return tf.nest.map_structure(part, batch)


def joined(batches: list[Any]) -> Any:
    """The samples of several batches."""

    def join(*leaves: Any) -> Any:
        sparse = isinstance(leaves[0], tf.SparseTensor)
        return tf.sparse.concat(0, leaves) if sparse else tf.concat(leaves, 0)

    return tf.nest.map_structure(join, *batches)
