"""Whole arrays, the same on every rank, as this rank's sub-batches."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.control.batch_plan import BatchPlan
from tflbt.data import composite, forms, sharding
from tflbt.data.batch_augmentation import BatchAugmentation
from tflbt.data.class_weights import weighted
from tflbt.distributed.comm import Reduction
from tflbt.training.sources.rank_data import KERAS_BATCH_SIZE, Batches, FitData


def from_arrays(
    arrays: Any,
    batch_size: int | None,
    sub_batch_size: int | None,
    reduction: Reduction,
    *,
    augmentation: BatchAugmentation | None = None,
    class_weight: dict[int, float] | None = None,
    **order: Any,
) -> FitData:
    """Whole arrays, the same on every rank, as this rank's sub-batches of all epochs, ordered by `sharding`."""
    augmentation = augmentation or BatchAugmentation()
    if batch_size is None:
        batch_size = reduction.size * (sub_batch_size or KERAS_BATCH_SIZE)
    plan = BatchPlan(batch_size, sub_batch_size, reduction.size)
    samples = forms.count(tf.nest.flatten(arrays)[0])
    size = plan.samples_a_rank_computes
    augmentation.check(plan.sub_batches, size, plan.ranks)
    numbered, restored = composite.numbered(arrays)
    if restored is not None and order.get("transform") is not None:
        raise ValueError(
            "transform needs dense arrays, but there are sparse or ragged tensors: leave it out."
        )
    dataset = sharding.sub_batches(
        numbered,
        sub_batch_size=size,
        rank=reduction.rank,
        size=reduction.size,
        augmentation=augmentation,
        **order,
    )
    if restored is not None:
        dataset = dataset.map(restored)
    if class_weight:
        dataset = weighted(dataset, class_weight)
    return FitData(
        dataset,
        dataset.element_spec,
        plan,
        sharding.steps_per_epoch(samples, size, reduction.size, augmentation),
        {
            "the number of samples in x": samples,
            "the first samples of x (give every rank the whole arrays)": _checksum(arrays),
        },
        rows=samples * augmentation.instances,
    )


def _checksum(arrays: Any) -> int:
    """A checksum of a few samples, to recognise arrays that were already split by rank."""
    total = 0
    for array in tf.nest.flatten(arrays, expand_composites=True):
        array = np.asarray(array)
        some = array[:: max(1, len(array) // 8)][:9]
        # An array of objects (strings) holds addresses, which differ from process to process.
        content = repr(some.tolist()).encode() if some.dtype == object else some.tobytes()
        total = zlib.crc32(content, total)
    return total


def evaluation_batches(arrays: Any, size: int, reduction: Reduction) -> Batches:
    """One pass over whole arrays: this rank's share, in sub-batches of `size`."""
    numbered, restored = composite.numbered(arrays)
    dataset = sharding.one_epoch(
        numbered, sub_batch_size=size, rank=reduction.rank, size=reduction.size
    )
    if restored is not None:
        dataset = dataset.map(restored)
    return Batches(dataset, dataset.element_spec, size, {})
