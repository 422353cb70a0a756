"""Turns what `fit` and `evaluate` accept as data into this rank's sub-batches."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tflbt.data import forms, sharding
from tflbt.data.batch_augmentation import BatchAugmentation
from tflbt.data.forms import is_arrays, pack
from tflbt.distributed.comm import Reduction
from tflbt.training.sources.batches import from_batches, read
from tflbt.training.sources.rank_data import Batches, FitData
from tflbt.training.sources.whole_arrays import evaluation_batches, from_arrays


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
            try:
                arrays = pack(*tf.keras.utils.unpack_x_y_sample_weight(validation_data))
            except (TypeError, ValueError) as error:
                raise ValueError(f"validation_data: {error}") from error
            batches = evaluation_batches(arrays, size, reduction)
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
