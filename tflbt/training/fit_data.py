"""Turns what `fit` and `evaluate` accept as data into this rank's sub-batches."""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.control.batch_plan import BatchPlan
from tflbt.data import composite, first_batch, forms, sharding, shares
from tflbt.data.batch_augmentation import BatchAugmentation
from tflbt.data.class_weights import weighted
from tflbt.data.forms import is_arrays, pack
from tflbt.distributed.comm import Reduction

KERAS_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class FitData:
    """This rank's sub-batches and their properties."""

    sub_batches: Any  # what Keras's fit iterates over
    spec: Any  # of a sub-batch, as nested `tf.TensorSpec`s
    plan: BatchPlan
    steps_per_epoch: int | None  # sub-batches per epoch on each rank; None: until the data end
    facts: dict[
        str, Any
    ]  # what must be equal on all ranks, by name; of each FirstBatch see tflbt.data.first_batch
    class_weight: dict[int, float] | None = None  # what Keras is left to apply
    rows: int | None = None  # samples of an epoch, instances counted; None: x is no whole arrays
    validation_steps_per_batch: int = (
        1  # steps of validation that read as many samples as Keras would at once
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
    validation_steps: int | None,
    validation_split: float,
    validation_batch_size: int | None,
    class_weight: dict[int, float] | None,
    shard: bool | None,
    model: tf.keras.Model,
    transform: sharding.Transform | None,
    augmentation: BatchAugmentation | None,
    **order: Any,
) -> tuple[FitData, Any]:
    """What a `fit` trains on, and what it validates on: this rank's sub-batches; see `LargeBatchModel.fit`."""
    if shard not in (None, True, False):
        raise ValueError(f"shard={shard!r} must be True, False or None.")
    split = validation_split if validation_data is None else 0.0
    if is_arrays(x):
        if split:
            forms.require_splittable((x, y, sample_weight))
        arrays = pack(x, y, sample_weight)
        if split:
            arrays, validation_data = forms.split_off(arrays, split)
        order = {"transform": transform, "augmentation": augmentation, **order}
        data = from_arrays(
            arrays, batch_size, sub_batch_size, reduction, class_weight=class_weight, **order
        )
    else:
        forms.require_batches("x", x)
        if any(argument is not None for argument in (y, sample_weight, transform, augmentation)):
            raise ValueError(
                "y, sample_weight, transform and batch_augmentation go with arrays: a data set x must yield what "
                "they mean (see tflbt.data.augmented_batches)."
            )
        if split:
            forms.require_splittable(x)
        batches = read("x", x, shard, reduction, steps_per_epoch, class_weight)
        data = from_batches(batches, batch_size, sub_batch_size, reduction, steps_per_epoch)
    require_targets("x", data.spec, model.loss, "`fit()`, as y or as the second part of x")
    if steps_per_epoch is not None and data.steps_per_epoch != steps_per_epoch:
        raise ValueError(
            f"steps_per_epoch={steps_per_epoch} cannot be given with arrays: an epoch is the whole of them."
        )
    if validation_data is not None:
        size = validation_batch_size or data.plan.samples_a_rank_computes
        if is_arrays(validation_data):
            parts = tf.keras.utils.unpack_x_y_sample_weight(validation_data)
            batches = evaluation_batches(pack(*parts), size, reduction)
            if not validation_batch_size:
                data = dataclasses.replace(data, validation_steps_per_batch=data.plan.sub_batches)
        else:
            batches = read(
                "validation_data", validation_data, shard, reduction, validation_steps, sized=False
            )
        require_targets(
            "validation_data", batches.spec, _loss_of_evaluation(model), "validation_data=(x, y)"
        )
        data.facts.update(batches.facts)
        validation_data = batches.data
    return data, validation_data


def for_evaluation(
    model: Any,
    x: Any,
    y: Any,
    sample_weight: Any,
    size: int,
    *,
    shard: bool | None,
    steps: int | None,
) -> Batches:
    """What `evaluate` reads: this rank's sub-batches, of `size` samples where they are of arrays."""
    if is_arrays(x):
        batches = evaluation_batches(pack(x, y, sample_weight), size, model.reduction)
    else:
        forms.require_batches("x", x)
        if y is not None or sample_weight is not None:
            raise ValueError(
                "y and sample_weight go with arrays: a data set x must yield what they mean."
            )
        batches = read("x", x, shard, model.reduction, steps, sized=False)
    require_targets("x", batches.spec, _loss_of_evaluation(model), "`evaluate()`, as y")
    return batches


def _loss_of_evaluation(model: tf.keras.Model) -> Any:
    """The loss that evaluation computes; None where the model's class has its own way."""
    plain = tf.keras.Model
    own = type(model).test_step, type(model).compute_loss
    return model.loss if own == (plain.test_step, plain.compute_loss) else None


def require_targets(name: str, spec: Any, loss: Any, where: str) -> None:
    """Raises Keras's ValueError where a loss was compiled and there is nothing to compare outputs with."""
    if loss and tf.keras.utils.unpack_x_y_sample_weight(spec)[1] is None:
        raise ValueError(
            f"Target data is missing. Your model was compiled with loss={loss}, and therefore expects target data to "
            f"be provided in {where}; {name} has none."
        )


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


@dataclasses.dataclass(frozen=True)
class Batches:
    """A data set, Sequence or generator of this rank's sub-batches, and what was found in it."""

    data: Any
    spec: Any  # of a sub-batch
    size: int | None  # samples in the first sub-batch, if that was looked at or is fixed
    facts: dict[str, Any]  # as in FitData
    class_weight: dict[int, float] | None = None  # what Keras is left to apply


def read(
    name: str,
    x: Any,
    shard: bool | None,
    reduction: Reduction,
    steps: int | None,
    class_weight: dict[int, float] | None = None,
    sized: bool = True,
) -> Batches:
    """Reads the first batch of a data set, Sequence or generator, and shares it out if that is wanted."""
    forms.require_batches(name, x)
    share = getattr(x, "_tflbt_share", None)
    if share is not None and share[1:] == (reduction.rank, reduction.size) and shard is not False:
        x, shard = share.whole, True

    def dealt(data: Any) -> Any:
        return shares.share_of(data, reduction.rank, reduction.size) if shard else data

    if reduction.size == 1:
        shard = False
    if isinstance(x, tf.data.Dataset):
        return _read_dataset(name, x, shard, dealt, reduction, steps, class_weight, sized)
    facts: dict[str, Any] = {}
    if isinstance(x, tf.keras.utils.Sequence):
        if not len(x):
            raise ValueError(f"Expected input data to be non-empty, but {name} has no batch.")
        facts[f"the number of batches in {name}"] = len(x)
        first = x[0]
    else:
        first = next(x, None)
        if first is None:
            raise ValueError(f"Expected input data to be non-empty, but {name} yields no batch.")
        x = itertools.chain([first], x)
    spec = forms.batch_spec(first)
    if class_weight and len(spec) == 3:
        raise ValueError(
            f"class_weight cannot go with the sample weights that {name} yields: multiply them there."
        )
    return Batches(
        dealt(x), spec, _batch_dimension(spec), {**_first(name, first, shard, reduction), **facts}, class_weight
    )  # fmt: skip


def _read_dataset(
    name: str,
    x: tf.data.Dataset,
    shard: bool | None,
    dealt: Any,
    reduction: Reduction,
    steps: int | None,
    class_weight: dict[int, float] | None,
    sized: bool,
) -> Batches:
    """Reads a data set; its first batch is looked at if there are other ranks, or its size is wanted and not fixed."""
    x = forms.same_parts(x)
    if class_weight:
        x = weighted(x, class_weight)
    batches = int(x.cardinality())
    if steps is None and batches == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            f"{'steps_per_epoch' if name == 'x' else 'steps'}=None, but the data set {name} does not end (does it "
            "repeat?): say how many of its batches are taken."
        )
    size = _batch_dimension(x.element_spec)
    # What is shared out has equal lengths; of validation_data those of the shares are compared.
    facts = {"the number of sub-batches in x": batches} if name == "x" else {}
    if sized and size is None or reduction.size > 1:
        x, first = first_batch.look(x, share=dealt, steps=steps)
        facts = {**_first(name, first, shard, reduction), **facts}
        size = size if first is None else forms.count(tf.nest.flatten(first)[0])
    return Batches(x, x.element_spec, size, facts)


def _first(name: str, batch: Any, shard: bool | None, reduction: Reduction) -> dict[str, Any]:
    """What the ranks compare of a first batch; nothing where each says that it has a share of its own."""
    facts: dict[str, Any] = {"shard": shard}
    if reduction.size > 1 and shard is not False and batch is not None:
        facts[f"the first sub-batch of {name}"] = first_batch.describe(name, batch, bool(shard))
    return facts


def from_batches(
    batches: Batches,
    batch_size: int | None,
    sub_batch_size: int | None,
    reduction: Reduction,
    steps_per_epoch: int | None,
) -> FitData:
    """What yields this rank's sub-batches, of `sub_batch_size` if given; else its first batch has their size."""
    found, dataset = batches.size, batches.data
    short = found is not None and sub_batch_size is not None and found < sub_batch_size
    ends = isinstance(dataset, tf.data.Dataset) and _batch_dimension(batches.spec) is None
    if short and ends and int(dataset.cardinality()) in (1, tf.data.UNKNOWN_CARDINALITY):
        found = None  # it may be the last
    if None not in (found, sub_batch_size) and found != sub_batch_size:
        raise ValueError(
            f"sub_batch_size={sub_batch_size} but x yields batches of {found}: leave sub_batch_size out, or batch x "
            "by it."
        )
    size = sub_batch_size or found
    if size is None:
        raise ValueError("Expected input data to be non-empty, but x yields no batch.")
    plan = BatchPlan(batch_size or size * reduction.size, size, reduction.size)
    return FitData(
        dataset, batches.spec, plan, steps_per_epoch, batches.facts, batches.class_weight
    )


def _batch_dimension(spec: Any) -> int | None:
    shapes = [getattr(part, "shape", None) for part in tf.nest.flatten(spec)]
    return None if not shapes or not shapes[0] else shapes[0][0]


def evaluation_batches(arrays: Any, size: int, reduction: Reduction) -> Batches:
    """One pass over whole arrays: this rank's share, in sub-batches of `size`."""
    numbered, restored = composite.numbered(arrays)
    dataset = sharding.one_epoch(
        numbered, sub_batch_size=size, rank=reduction.rank, size=reduction.size
    )
    if restored is not None:
        dataset = dataset.map(restored)
    return Batches(dataset, dataset.element_spec, size, {})
