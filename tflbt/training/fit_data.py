"""Turns what `fit` and `evaluate` accept as data into this rank's sub-batches."""

from __future__ import annotations

import dataclasses
import itertools
import math
import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.control.batch_plan import BatchPlan
from tflbt.data import sharding
from tflbt.data.batch_augmentation import BatchAugmentation
from tflbt.distributed.comm import Reduction

KERAS_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class FitData:
    """This rank's sub-batches and their properties."""

    sub_batches: Any  # what Keras's fit iterates over
    spec: Any  # of a sub-batch, as nested `tf.TensorSpec`s
    plan: BatchPlan
    steps_per_epoch: int | None  # sub-batches per epoch on each rank; None: until the data end
    facts: dict[str, Any]  # what must be equal on all ranks, by name


def is_arrays(x: Any) -> bool:
    """Says whether `x` is arrays in memory rather than a data set, a Sequence or a generator."""
    if isinstance(x, (tf.data.Dataset, tf.keras.utils.Sequence)) or callable(x):
        return False
    if isinstance(x, (dict, list, tuple)):
        return True
    return hasattr(x, "shape") and hasattr(x, "dtype") or hasattr(x, "to_numpy")


def as_arrays(data: Any) -> Any:
    """NumPy arrays in the structure of `data`; lists of arrays become tuples, float64 Keras's float type."""
    if isinstance(data, dict):
        return {name: as_arrays(value) for name, value in data.items()}
    several = isinstance(data, (list, tuple)) and len(data) > 0
    if several and hasattr(data[0], "shape") and np.ndim(data[0]) > 0:
        return tuple(as_arrays(value) for value in data)
    array = np.asarray(data)
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(tf.keras.backend.floatx(), copy=False)
    return array


def pack(x: Any, y: Any, sample_weight: Any) -> Any:
    """The tuple (x,), (x, y) or (x, y, sample_weight) of NumPy arrays."""
    parts = [x] if y is None else [x, y] if sample_weight is None else [x, y, sample_weight]
    return tuple(as_arrays(part) for part in parts)


def split_validation(arrays: Any, share: float) -> tuple[Any, Any]:
    """Splits off the last `share` of the samples, as Keras's `validation_split` does; no part may be empty."""
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


def prepare(
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    batch_size: int | None,
    sub_batch_size: int | None,
    reduction: Reduction,
    steps_per_epoch: int | None,
    validation_data: Any,
    validation_split: float,
    validation_batch_size: int | None,
    transform: sharding.Transform | None,
    augmentation: BatchAugmentation | None,
    **order: Any,
) -> tuple[FitData, Any]:
    """What a `fit` trains on, and what it validates on: this rank's sub-batches; see `LargeBatchModel.fit`."""
    if is_arrays(x):
        arrays = pack(x, y, sample_weight)
        if validation_split and validation_data is None:
            arrays, validation_data = split_validation(arrays, validation_split)
        order = {"transform": transform, "augmentation": augmentation, **order}
        data = from_arrays(arrays, batch_size, sub_batch_size, reduction, **order)
    else:
        if any(argument is not None for argument in (y, sample_weight, transform, augmentation)):
            raise ValueError(
                "y, sample_weight, transform and batch_augmentation go with arrays: a data set x must yield what "
                "they mean (see tflbt.data.augmented_batches)."
            )
        data = from_dataset(x, batch_size, sub_batch_size, reduction, steps_per_epoch)
    if steps_per_epoch is not None and data.steps_per_epoch != steps_per_epoch:
        raise ValueError(
            f"steps_per_epoch={steps_per_epoch} cannot be given with arrays: an epoch is the whole of them."
        )
    if validation_data is not None and is_arrays(validation_data):
        parts = validation_data if isinstance(validation_data, (tuple, list)) else [validation_data]
        arrays = pack(*[*parts, None, None][:3])
        size = validation_batch_size or data.plan.samples_a_rank_computes
        validation_data = evaluation_batches(arrays, size, reduction)
    return data, validation_data


def from_arrays(
    arrays: Any,
    batch_size: int | None,
    sub_batch_size: int | None,
    reduction: Reduction,
    *,
    augmentation: BatchAugmentation | None = None,
    **order: Any,
) -> FitData:
    """Whole arrays, the same on every rank, as this rank's sub-batches of all epochs, ordered by `sharding`."""
    augmentation = augmentation or BatchAugmentation()
    if batch_size is None:
        batch_size = reduction.size * (sub_batch_size or KERAS_BATCH_SIZE)
    plan = BatchPlan(batch_size, sub_batch_size, reduction.size)
    samples = len(tf.nest.flatten(arrays)[0])
    size = plan.samples_a_rank_computes
    augmentation.check(plan.sub_batches, size, plan.ranks)
    dataset = sharding.sub_batches(
        arrays,
        sub_batch_size=size,
        rank=reduction.rank,
        size=reduction.size,
        augmentation=augmentation,
        **order,
    )
    return FitData(
        dataset,
        dataset.element_spec,
        plan,
        sharding.steps_per_epoch(samples, size, reduction.size, augmentation),
        {
            "the number of samples in x": samples,
            "the first samples of x (give every rank the whole arrays)": _checksum(arrays),
        },
    )


def _checksum(arrays: Any) -> int:
    """A checksum of a few samples, to recognise arrays that were already split by rank."""
    total = 0
    for array in tf.nest.flatten(arrays):
        some = array[:: max(1, len(array) // 8)][:9]
        # An array of objects (strings) holds addresses, which differ from process to process.
        content = repr(some.tolist()).encode() if some.dtype == object else some.tobytes()
        total = zlib.crc32(content, total)
    return total


def from_dataset(
    dataset: Any,
    batch_size: int | None,
    sub_batch_size: int | None,
    reduction: Reduction,
    steps_per_epoch: int | None,
) -> FitData:
    """A data set (or Sequence, or generator) that yields this rank's sub-batches, of `sub_batch_size` if given."""
    facts: dict[str, Any] = {}
    dataset, spec = with_spec(dataset)
    found = _batch_dimension(spec)
    if isinstance(dataset, tf.data.Dataset):
        facts["the number of sub-batches in x"] = int(dataset.cardinality())
        if steps_per_epoch is None and dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "steps_per_epoch=None, but the data set x does not end: give fit steps_per_epoch."
            )
        if found is None and sub_batch_size is None and batch_size is not None:
            found = next((int(len(tf.nest.flatten(data)[0])) for data in dataset.take(1)), None)
    if None not in (found, sub_batch_size) and found != sub_batch_size:
        raise ValueError(
            f"sub_batch_size={sub_batch_size} but x yields batches of {found}: leave sub_batch_size out, or batch x "
            "by it."
        )
    size = sub_batch_size or found
    if size is None and batch_size is not None:
        raise ValueError(
            f"batch_size={batch_size} needs sub_batch_size beside this x: the number of samples in one of its batches."
        )
    size = size or 1
    plan = BatchPlan(batch_size or size * reduction.size, size, reduction.size)
    return FitData(dataset, spec, plan, steps_per_epoch, facts)


def with_spec(data: Any) -> tuple[Any, Any]:
    """The data and the spec of their batches; a generator's first batch is read and put back."""
    if isinstance(data, tf.data.Dataset):
        return data, data.element_spec
    if isinstance(data, tf.keras.utils.Sequence):
        first = data[0]
    else:
        batches = iter(data)
        first = next(batches)
        data = itertools.chain([first], batches)
    parts = first if isinstance(first, tuple) else (first,)
    arrays = tuple(as_arrays(part) for part in parts if part is not None)
    return data, tf.nest.map_structure(
        lambda a: tf.TensorSpec(a.shape, tf.as_dtype(a.dtype)), arrays
    )


def _batch_dimension(spec: Any) -> int | None:
    shapes = [getattr(part, "shape", None) for part in tf.nest.flatten(spec)]
    return None if not shapes or not shapes[0] else shapes[0][0]


def evaluation_batches(arrays: Any, size: int, reduction: Reduction) -> tf.data.Dataset:
    """One pass over whole arrays: this rank's share, in sub-batches of `size`."""
    return sharding.one_epoch(arrays, sub_batch_size=size, rank=reduction.rank, size=reduction.size)
