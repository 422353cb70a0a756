"""The samples of an estimate: checked once, handed out one sub-batch at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

#: Samples that go through the network at once where the caller names no number.
DEFAULT_SUB_BATCH_SIZE = 256


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuredSamples:
    """Arrays with a common first dimension of `count` samples (0 is allowed), cut into sub-batches."""

    x: Any
    y: Any
    sample_weight: Any
    count: int
    sub_batch_size: int

    @classmethod
    def of(
        cls, x: Any, y: Any, sample_weight: Any = None, sub_batch_size: int | None = None
    ) -> MeasuredSamples:
        """Check arrays, or lists, tuples or dicts of them, `[samples, ...]` each; ValueError says what does not fit."""
        size = DEFAULT_SUB_BATCH_SIZE if sub_batch_size is None else sub_batch_size
        if int(size) != size or size < 1:
            raise ValueError(f"sub_batch_size={sub_batch_size!r} must be a whole number, 1 or more")
        arrays = {"x": x, "y": y, "sample_weight": sample_weight}
        arrays = {name: _arrays(name, value) for name, value in arrays.items()}
        counts = {name: _count(name, value) for name, value in arrays.items() if value is not None}
        if len(set(counts.values())) > 1:
            raise ValueError(f"x, y and sample_weight differ in their numbers of samples: {counts}")
        return cls(count=counts["x"], sub_batch_size=int(size), **arrays)

    def sub_batches(self) -> Iterator[tuple[Any, Any, Any]]:
        """Yield `(x, y, sample_weight)` tensors, in order, every sample once."""
        for start in range(0, self.count, self.sub_batch_size):
            part = slice(start, start + self.sub_batch_size)
            yield _tensors(self._parts, part)

    def all(self) -> tuple[Any, Any]:
        """Return targets and sample weights of all samples as tensors."""
        return _tensors((self.y, self.sample_weight), slice(None))

    def specs(self) -> tuple[Any, Any, Any]:
        """Return the `tf.TensorSpec` of `(x, y, sample_weight)` for any number of samples."""
        return tf.nest.map_structure(_spec, self._parts)

    @property
    def _parts(self) -> tuple[Any, Any, Any]:
        return self.x, self.y, self.sample_weight


def without_nones(structure: Any) -> list:
    """Flatten, leaving out what is None: compiled functions take no None."""
    return [leaf for leaf in tf.nest.flatten(structure) if leaf is not None]


def with_nones(structure: Any, leaves: list) -> Any:
    """Undo `without_nones`: put `leaves` where `structure` has something other than None."""
    waiting = iter(leaves)
    return tf.nest.map_structure(lambda leaf: None if leaf is None else next(waiting), structure)


def _arrays(name: str, value: Any) -> Any:
    if name != "sample_weight" and value is None:
        raise ValueError(f"{name}=None: give an array whose first dimension counts the samples")
    return tf.nest.map_structure(lambda leaf: _array(name, leaf), value)


def _array(name: str, leaf: Any) -> Any:
    known = leaf is None or isinstance(leaf, (np.ndarray, tf.Tensor))
    array = leaf if known else np.asarray(leaf)
    if array is not None and (array.dtype == object or len(array.shape) == 0):
        raise ValueError(
            f"{name} holds {type(leaf).__name__} {str(leaf)[:60]!r}: give NumPy arrays or tensors "
            "whose first dimension counts the samples (a list means several inputs or outputs)"
        )
    return array


def _count(name: str, value: Any) -> int:
    counts = {int(leaf.shape[0]) for leaf in tf.nest.flatten(value) if leaf is not None}
    if len(counts) != 1:
        raise ValueError(f"the arrays of {name} differ in their numbers of samples: {counts}")
    return counts.pop()


def _tensors(value: Any, part: slice) -> Any:
    return tf.nest.map_structure(
        lambda leaf: None if leaf is None else tf.convert_to_tensor(leaf[part], _dtype(leaf)), value
    )


def _spec(leaf: Any) -> tf.TensorSpec | None:
    return None if leaf is None else tf.TensorSpec([None, *leaf.shape[1:]], _dtype(leaf))


def _dtype(leaf: Any) -> tf.DType:
    """Keep the type, but for NumPy's float64, which Keras reads as its own float type."""
    if isinstance(leaf, np.ndarray) and leaf.dtype == np.float64:
        return tf.as_dtype(tf.keras.backend.floatx())
    return tf.as_dtype(leaf.dtype)
