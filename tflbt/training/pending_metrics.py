"""Keras metrics over all ranks: what each adds during one execution is summed over all of them."""

from __future__ import annotations

import tensorflow as tf

from tflbt.training.update_state import TrainingModel


def metric_variables(model: tf.keras.Model) -> list[tf.Variable]:
    """The variables of every metric of the model, each once."""
    found = {v.ref(): v for metric in model.metrics for v in metric.weights}
    return list(found.values())


class PendingMetrics:
    """Makes metric states global: what the ranks add during one execution is summed over all of them.

    Keras metrics keep sums (that is how `tf.distribute` aggregates them too), so: put the state aside, count the
    execution's sub-batches from zero, add the ranks' sums up, add the state back. Every rank then holds the
    exact metrics over all samples of all ranks. In one process nothing is moved.
    """

    def __init__(self, model: TrainingModel) -> None:
        self.variables = metric_variables(model) if model.reduction.size > 1 else []
        self.before = [variable.read_value() for variable in self.variables]
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))

    def local(self) -> list[tf.Tensor]:
        """What this rank added."""
        return [variable.read_value() for variable in self.variables]

    def settle(self, summed: list[tf.Tensor]) -> None:
        """Adds what all ranks added to the state before."""
        for variable, before, added in zip(self.variables, self.before, summed):
            variable.assign(before + added)
