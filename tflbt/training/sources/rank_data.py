"""This rank's sub-batches and their properties: of what a `fit` trains on, of a data set, of an evaluation."""

from __future__ import annotations

import dataclasses
from typing import Any

from tflbt.control.batch_plan import BatchPlan

KERAS_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class FitData:
    """This rank's sub-batches and their properties."""

    sub_batches: Any  # what Keras's fit iterates over
    spec: Any  # of a sub-batch, as nested `tf.TensorSpec`s
    plan: BatchPlan
    steps_per_epoch: int | None  # sub-batches per epoch on each rank; None: until the data end
    # What must be equal on all ranks, by name; of each FirstBatch see tflbt.data.first_batch.
    facts: dict[str, Any]
    class_weight: dict[int, float] | None = None  # what Keras is left to apply
    rows: int | None = None  # samples of an epoch, instances counted; None: x is no whole arrays
    # Steps of validation that read as many samples as Keras would at once.
    validation_steps_per_batch: int = 1


@dataclasses.dataclass(frozen=True)
class Batches:
    """A data set, Sequence or generator of this rank's sub-batches, and what was found in it."""

    data: Any
    spec: Any  # of a sub-batch
    size: int | None  # samples in the first sub-batch, if that was looked at or is fixed
    facts: dict[str, Any]  # as in FitData
    class_weight: dict[int, float] | None = None  # what Keras is left to apply
