"""Data sets, Sequences and generators: their first batch is looked at, and they are shared out if that is wanted."""

from __future__ import annotations

import itertools
from typing import Any

import tensorflow as tf

from tflbt.control.batch_plan import BatchPlan
from tflbt.data import first_batch, forms, shares
from tflbt.data.class_weights import weighted
from tflbt.distributed.comm import Reduction
from tflbt.training.sources.rank_data import Batches, FitData


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
