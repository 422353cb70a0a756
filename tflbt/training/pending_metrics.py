"""Keras metrics over all ranks, and computations that leave no trace in metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from tflbt.training.update_state import TrainingModel


def metric_variables(model: TrainingModel) -> list[tf.Variable]:
    """The variables of every metric of the model, each once."""
    found = {v.ref(): v for metric in model.metrics for v in metric.weights}
    return list(found.values())


@contextlib.contextmanager
def preserved(variables: list[tf.Variable]) -> Iterator[None]:
    """Restores variables to what they were before the body."""
    before = [variable.read_value() for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before):
            variable.assign(value)


class PendingMetrics:
    """Makes metric states global: what the ranks add during one execution is summed over all of them.

    Keras metrics keep sums (that is how `tf.distribute` aggregates them too). So the state is put aside, the
    execution's sub-batches are counted from zero, the ranks' sums are added up, and the state is added to them. Every
    rank then has the exact metrics over all samples of all ranks. In one process nothing is moved.
    """

    def __init__(self, model: TrainingModel) -> None:
        self._variables = metric_variables(model) if model.reduction.size > 1 else []
        self._before = [variable.read_value() for variable in self._variables]
        for variable in self._variables:
            variable.assign(tf.zeros_like(variable))

    def local(self) -> list[tf.Tensor]:
        """What this rank added."""
        return [variable.read_value() for variable in self._variables]

    def settle(self, summed: list[tf.Tensor]) -> None:
        """Adds what all ranks added to the state before."""
        for variable, before, added in zip(self._variables, self._before, summed):
            variable.assign(before + added)
