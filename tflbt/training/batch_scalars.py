"""Means of numbers for a batch, such as `add_loss` alone: a batch counts once, however it is divided.

Keras counts each batch once, whatever its size: `Mean.update_state(number)` adds 1 to the count. Here an update, or the
part of an evaluation that would be a batch of Keras's, counts once, with the mean over its samples.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tflbt.training import keras_internals
from tflbt.training.sub_batches import first_dimension
from tflbt.training.update_state import TrainingModel

Mean = tf.keras.metrics.Mean
_counting: list[BatchScalars] = []  # the innermost last


class BatchScalars:
    r"""Collects the single numbers with which sub-batches update means of a model, and hands them on once per batch.

    A batch of N samples in sub-batches of n, whose numbers are v, adds to a mean's total and count

    $$\frac{1}{N} \sum n v, \quad \frac{1}{N} \sum n = 1$$

    over all sub-batches and ranks. Values for each sample, and those with weights, are left to the metric. Where there
    are no such numbers, nothing is added to the compiled function.
    """

    def __init__(self, model: TrainingModel) -> None:
        self.model = model
        # The sub-batch that is counted now, and whether shapes do not show how many samples it has.
        self._data, self._of_any_size = None, False
        # By the metric's id: the metric; the sums of n v and n; what a batch that goes on has had of them, and its N.
        self._sums: dict[int, tuple[Any, tf.Variable, tf.Variable]] = {}

    @contextlib.contextmanager
    def counting(self, data: Any) -> Iterator[None]:
        """Takes the numbers with which a sub-batch updates means meanwhile."""
        # An instance of Mean itself keeps the method that it was made with; all others ask the class.
        means = {id(m): m for m in (*self.model.metrics, keras_internals.mean_of_loss(self.model))}
        direct = [
            each
            for each in means.values()
            if isinstance(each, Mean) and type(each).update_state is _of_keras
        ]
        before = [vars(metric)["update_state"] for metric in direct]
        self._data = data
        self._of_any_size = tf.nest.flatten(data)[0].shape[0] is None
        _counting.append(self)
        Mean.update_state = _update_state
        for metric in direct:
            vars(metric)["update_state"] = _update_state.__get__(metric)
        try:
            yield
        finally:
            for metric, method in zip(direct, before):
                vars(metric)["update_state"] = method
            _counting.pop()
            if not _counting:
                del Mean.update_state  # Keras's is that of a class above

    def takes(self, metric: Any, values: Any, sample_weight: Any) -> bool:
        """Whether an update is by a number for a batch, or as many for any batch, of one of the model's means."""
        if not (sample_weight is None or isinstance(sample_weight, (int, float))):
            return False
        values = values if hasattr(values, "shape") else tf.convert_to_tensor(values)
        shape = tf.TensorShape(values.shape)
        alike = shape.rank == 0 or self._of_any_size and shape.is_fully_defined()
        return alike and any(metric is each for each in self.model.metrics)

    def add(self, metric: Any, values: Any, sample_weight: Any) -> tf.Operation:
        """Takes numbers for a mean."""
        values = tf.cast(values, metric.total.dtype)
        if id(metric) not in self._sums:
            with tf.init_scope():
                variables = (
                    tf.Variable(tf.zeros([size], values.dtype), trainable=False) for size in (2, 3)
                )
                self._sums[id(metric)] = (metric, *variables)
        weight = tf.cast(first_dimension(self._data), values.dtype)
        weight *= 1.0 if sample_weight is None else float(sample_weight)
        _, sums, _ = self._sums[id(metric)]
        size = tf.cast(tf.size(values), values.dtype)
        return sums.assign_add(weight * tf.stack([tf.reduce_sum(values), size]))

    def local(self) -> list[tf.Tensor]:
        """This rank's sums, for the reduction."""
        found = []
        for _, sums, _ in self._sums.values():
            found.append(sums.read_value())
            sums.assign(tf.zeros_like(sums))
        return found

    def settle(self, summed: list[tf.Tensor], number: tf.Tensor) -> None:
        """Gives the means what the sub-batches of all ranks, of `number` samples, had for them: one batch."""
        for (metric, _, _), sums in zip(self._sums.values(), summed):
            _add(metric, tf.math.divide_no_nan(sums, tf.cast(number, sums.dtype)))

    def settle_part(self, summed: list[tf.Tensor], number: tf.Tensor, begins: Any) -> None:
        """The same for a part of a batch, which begins with this part or goes on; `begins()` is a bool scalar."""
        for (metric, _, had), sums in zip(self._sums.values(), summed):
            before = tf.where(begins(), tf.zeros_like(had), had)
            after = before + tf.concat([sums, [tf.cast(number, sums.dtype)]], 0)
            _add(metric, _shares(after) - _shares(before))
            had.assign(after)


def _shares(sums: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(sums[:2], sums[2])


def _add(metric: Any, parts: tf.Tensor) -> None:
    metric.total.assign_add(parts[0])
    metric.count.assign_add(parts[1])


_of_keras = Mean.update_state


def _update_state(metric: Any, values: Any, sample_weight: Any = None) -> Any:
    """Keras's `Mean.update_state`, unless a number for a batch is collected."""
    if _counting and _counting[-1].takes(metric, values, sample_weight):
        return _counting[-1].add(metric, values, sample_weight)
    return _of_keras(metric, values, sample_weight=sample_weight)


@contextlib.contextmanager
def validating(model: TrainingModel) -> Iterator[None]:
    """Lets the validation of a `fit` count as many steps as one batch as `fit` has said."""
    state = model.update_state
    state.steps_per_batch.assign(state.validation_steps_per_batch)
    try:
        yield
    finally:
        state.steps_per_batch.assign(1)
