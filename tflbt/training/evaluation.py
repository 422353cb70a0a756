"""Evaluation in sub-batches, with metrics that are exact over all ranks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tflbt.distributed import comm
from tflbt.training import keras_internals
from tflbt.training.batch_scalars import BatchScalars
from tflbt.training.pending_metrics import PendingMetrics
from tflbt.training.ranks import same_on_ranks
from tflbt.training.returned_results import ReturnedResults
from tflbt.training.sub_batches import first_dimension, pull
from tflbt.training.update_state import TrainingModel


def make_evaluation(model: TrainingModel) -> Any:
    """Builds the test function: `steps_per_execution` sub-batches a call, metrics exact over all ranks."""
    results, numbers = ReturnedResults(model, "test_step"), BatchScalars(model)

    def compute(data: Any) -> None:
        with numbers.counting(data):
            results.call(first_dimension(data), data)

    if model.jit_compile:
        compute = tf.function(compute, jit_compile=True, reduce_retracing=True)

    def accumulate(step: tf.Tensor, data: Any, count: tf.Tensor) -> tf.Tensor:
        compute(data)
        return count + first_dimension(data)

    def evaluate(iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
        reduction = model.reduction.uncompressed
        counter = keras_internals.test_counter(model)
        pending = PendingMetrics(model)
        steps = tf.convert_to_tensor(model.sub_batches_variable)
        count = pull(iterator, steps, accumulate, tf.constant(0.0))
        evidence = same_on_ranks.evidence(model, of_settings=False)
        parts = [count, pending.local(), results.local(count), numbers.local(), evidence]
        total = comm.all_reduce_sum(tf.nest.flatten(parts), "tflbt.evaluate", reduction)
        count, metrics, sums, found, evidence = tf.nest.pack_sequence_as(parts, total)
        same_on_ranks.require_equal(model, evidence)
        pending.settle(metrics)
        numbers.settle_part(
            found, count, lambda: tf.equal(counter % model.update_state.steps_per_batch, 0)
        )

        def end_of_data() -> tf.Tensor:
            tf.nest.map_structure(tf.identity, next(iterator))
            return counter.read_value()

        tf.cond(count > 0, lambda: counter.assign_add(1).read_value(), end_of_data)
        return results.merged(sums, count)

    return evaluate
