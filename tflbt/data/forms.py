"""The forms in which users give data: arrays in all their structures, or batches; other forms are refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

COMPOSITE = (tf.SparseTensor, tf.RaggedTensor)


def is_arrays(x: Any) -> bool:
    """Says whether `x` is arrays in memory rather than a data set, a Sequence or a generator."""
    if isinstance(x, (tf.data.Dataset, tf.keras.utils.Sequence)) or callable(x):
        return False
    if isinstance(x, (dict, list, tuple, *COMPOSITE)) or hasattr(x, "tocoo"):
        return True
    return hasattr(x, "shape") and hasattr(x, "dtype") or hasattr(x, "to_numpy")


def require_batches(name: str, x: Any) -> None:
    """Raises ValueError unless `x` is what yields batches: a data set, a Sequence or a generator."""
    iterator = hasattr(x, "__next__") and hasattr(x, "__iter__")
    if not iterator and not isinstance(x, (tf.data.Dataset, tf.keras.utils.Sequence)):
        hint = ", such as what the function returns" if callable(x) else ""
        raise ValueError(
            f"{name} is a {type(x).__name__} ({_shown(x)}): give arrays, a tf.data.Dataset, a keras.utils.Sequence or "
            f"a generator{hint}."
        )


def pack(x: Any, y: Any = None, sample_weight: Any = None) -> tuple[Any, ...]:
    """Arrays as the tuple (x,), (x, y) or (x, y, sample_weight), each part as `as_arrays` has it.

    Outputs whose weight is None, beside others that have weights, weigh 1, as in Keras.

    Raises:
        ValueError: If the samples are not of one number, or none, or a form cannot be an array.
    """
    parts = {"x": as_arrays(x, "x")}
    if y is not None:
        parts["y"] = as_arrays(y, "y")
        if any(isinstance(part, tf.SparseTensor) for part in tf.nest.flatten(parts["y"])):
            raise ValueError(
                "y is sparse, which Keras's losses cannot compare with: give y.toarray() or tf.sparse.to_dense(y)."
            )
        weights = _filled(as_arrays(sample_weight, "sample_weight"), parts)
        if weights is not None:
            parts["sample_weight"] = weights
    _check_counts(parts)
    return tuple(parts.values())


def as_arrays(data: Any, name: str = "x") -> Any:
    """NumPy arrays in the structure of `data`; lists of arrays become tuples, float64 Keras's float type.

    Sparse and ragged tensors stay what they are; scipy's sparse matrices become sparse tensors.

    Raises:
        ValueError: If rows differ in length, or hold Python objects other than words.
    """
    if data is None or isinstance(data, COMPOSITE):
        return data
    if isinstance(data, dict):
        return {key: as_arrays(value, name) for key, value in data.items()}
    if isinstance(data, (list, tuple)) and len(data) and not _holds_scalars(data):
        return tuple(as_arrays(value, name) for value in data)
    if hasattr(data, "tocoo"):
        return _sparse_tensor(data)
    try:
        array = data.to_numpy() if hasattr(data, "to_numpy") else np.asarray(data)
    except ValueError as error:
        raise ValueError(
            f"{name} is no array, perhaps because its rows differ in length: pad them, or give "
            f"tf.ragged.constant({name}). ({error})"
        ) from error
    if hasattr(data, "to_numpy") and array.ndim == 1:
        array = array[:, None]  # a column of a table, as Keras takes it
    if array.dtype == object and not all(isinstance(v, (str, bytes)) for v in array.flat):
        kinds = {type(value).__name__ for value in array.flat}
        raise ValueError(
            f"{name} is an array of Python objects ({', '.join(sorted(kinds))}): give it a type with astype."
        )
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(tf.keras.backend.floatx(), copy=False)
    return array


def split_off(arrays: Any, share: float) -> tuple[Any, Any]:
    """Splits off the last `share` of the samples, as Keras's `validation_split` does; no part may be empty."""
    require_splittable(arrays)
    samples = len(tf.nest.flatten(arrays)[0])
    at = math.floor(samples * (1.0 - share))
    if not 0 < at < samples:
        raise ValueError(
            f"validation_split={share!r} of {samples} samples leaves a part empty; use a fraction between 0 and 1."
        )
    return (
        tf.nest.map_structure(lambda a: a[:at], arrays),
        tf.nest.map_structure(lambda a: a[at:], arrays),
    )


def require_splittable(x: Any) -> None:
    """Raises Keras's ValueError unless `validation_split` can split `x`."""
    kinds = sorted({type(part).__name__ for part in tf.nest.flatten(x) if not _is_dense(part)})
    if kinds:
        raise ValueError(
            "`validation_split` is only supported for Tensors or NumPy arrays, found following types in the input: "
            f"{kinds}. Split the data yourself and give validation_data."
        )


def batch_spec(batch: Any) -> Any:
    """The spec of a batch that a Sequence or a generator yields: (x,), (x, y) or (x, y, sample_weight)."""
    parts = without_none(tf.keras.utils.unpack_x_y_sample_weight(batch))
    return tf.nest.map_structure(_leaf_spec, tuple(_tuples(part) for part in parts))


def without_none(parts: tuple[Any, Any, Any]) -> tuple[Any, ...]:
    """(x, y, sample_weight) without the parts that are missing; without y there are no weights."""
    present = [i for i, part in enumerate(parts) if not isinstance(part, (type(None), NONE_SPEC))]
    return parts[: 3 if present == [0, 1, 2] else 2 if 1 in present else 1]


def same_parts(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The data set without parts that are None, such as (x, y, None); the number of parts is checked."""
    parts = tf.keras.utils.unpack_x_y_sample_weight(dataset.element_spec)
    number = len(without_none(parts))
    if parts[number:] != (None,) * (3 - number):
        dataset = dataset.map(_first_parts(number))
    for spec in tf.nest.flatten(dataset.element_spec):
        if getattr(spec, "shape", None) is not None and spec.shape.rank == 0:
            raise ValueError(
                "The data set yields single numbers, not batches of samples: end it with .batch(n)."
            )
    return dataset


NONE_SPEC: type = type(tf.type_spec_from_value(None))


def _first_parts(number: int) -> Callable[..., Any]:
    @tf.autograph.experimental.do_not_convert
    def parts(*batch: Any) -> Any:
        return batch[:number]

    return parts


def _leaf_spec(leaf: Any) -> Any:
    if hasattr(leaf, "tocoo"):
        raise ValueError(
            "x yields scipy.sparse matrices, which Keras cannot batch: yield tf.SparseTensor, or arrays."
        )
    if isinstance(leaf, COMPOSITE):
        return tf.type_spec_from_value(leaf)
    if not hasattr(leaf, "shape"):
        raise ValueError(
            f"x yields {type(leaf).__name__} ({_shown(leaf)}) where an array should be: yield NumPy arrays."
        )
    array = as_arrays(leaf)
    return tf.TensorSpec(array.shape, tf.as_dtype(array.dtype))


def _tuples(part: Any) -> Any:
    """Lists become tuples, as Keras makes them."""
    if isinstance(part, (list, tuple)):
        return tuple(_tuples(each) for each in part)
    return {key: _tuples(each) for key, each in part.items()} if isinstance(part, dict) else part


def _holds_scalars(data: Any) -> bool:
    """Says whether nested lists hold numbers or words, so that they are one array."""
    while isinstance(data, (list, tuple)) and len(data):
        data = data[0]
    return not isinstance(data, (type(None), dict, *COMPOSITE)) and np.ndim(data) == 0


def _is_dense(part: Any) -> bool:
    dense = (np.ndarray, tf.Tensor, tf.Variable, int, float, str, bytes, np.generic, type(None))
    return isinstance(part, dense) or hasattr(part, "to_numpy")


def _sparse_tensor(matrix: Any) -> tf.SparseTensor:
    """A matrix of scipy.sparse as Keras takes it, in the order that TensorFlow needs."""
    entries = matrix.tocoo()
    indices = np.stack([entries.row, entries.col], axis=1).astype("int64")
    return tf.sparse.reorder(tf.SparseTensor(indices, entries.data, entries.shape))


def _filled(weights: Any, parts: dict[str, Any]) -> Any:
    """Weights of which some are None: those are 1, or left out of a dictionary."""
    if isinstance(weights, dict):
        return {key: w for key, w in weights.items() if w is not None} or None
    if not isinstance(weights, tuple) or None not in [w for w in weights if w is None]:
        return weights
    if all(weight is None for weight in weights):
        return None
    ones = np.ones(count(tf.nest.flatten(parts["x"])[0]), tf.keras.backend.floatx())
    return tuple(ones if weight is None else weight for weight in weights)


def count(array: Any) -> int:
    """The number of samples of an array, or of a sparse or ragged tensor; -1 for what has no first dimension."""
    shape: Any = getattr(array, "shape", ())
    return int(shape[0]) if len(shape) else -1


def _check_counts(parts: dict[str, Any]) -> None:
    counts = {name: [count(a) for a in tf.nest.flatten(part)] for name, part in parts.items()}
    every = [number for numbers in counts.values() for number in numbers]
    sizes = "; ".join(f"{name}: {', '.join(map(str, n))}" for name, n in counts.items())
    if -1 in every:
        name = next(name for name, numbers in counts.items() if -1 in numbers)
        raise ValueError(
            f"{name} has None or a single number where an array should be, whose first dimension is the samples."
        )
    if len(set(every)) > 1:
        raise ValueError(
            f"Data cardinality is ambiguous: the numbers of samples are {sizes}. Give arrays with the samples as "
            "their first dimension, the same number in all."
        )
    if set(every) != {0} and all(counts.values()):
        return
    raise ValueError(
        f"Expected input data to be non-empty, but the numbers of samples are {sizes}."
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
