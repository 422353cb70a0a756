"""Keras metrics over all ranks, and computations that leave no trace in metrics."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import tensorflow as tf

from tflbt.training.ranks import metric_merging
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
    """Makes metric states global: what the ranks add during one execution is merged over all of them.

    Keras metrics keep sums (that is how `tf.distribute` aggregates them too). So the state is put aside, the
    execution's sub-batches are counted from the start, the ranks' sums are added up, and the state is added to them.
    States that are no sums travel with them, a row per rank, and merge as `tflbt.training.ranks.metric_merging` says.
    Every rank then has the exact metrics over all samples of all ranks. In one process nothing is moved.
    """

    def __init__(self, model: TrainingModel) -> None:
        several = model.reduction.varies
        self._rank, self._ranks = model.reduction.rank_in_graph, model.reduction.size_in_graph
        self._merges = model.update_state.merges if several else []
        self._states = [v for metric, _, _ in self._merges for v in metric.weights]
        apart = {v.ref() for v in self._states}
        self._variables = [v for v in metric_variables(model) if several and v.ref() not in apart]
        self._before = [variable.read_value() for variable in (*self._variables, *self._states)]
        for variable in self._variables:
            variable.assign(tf.zeros_like(variable))
        for metric, merge, _ in self._merges:
            for variable, initial in zip(metric.weights, merge.initial):
                variable.assign(initial)

    def local(self) -> list[tf.Tensor]:
        """What this rank added."""
        sums = [variable.read_value() for variable in self._variables]
        if not self._states:
            return sums
        states = [variable.read_value() for variable in self._states]
        return [*sums, metric_merging.gathered(states, self._rank, self._ranks)]

    def settle(self, summed: list[tf.Tensor]) -> None:
        """Adds what all ranks added to the state before."""
        for variable, before, added in zip(self._variables, self._before, summed):
            variable.assign(before + added)
        if not self._states:
            return
        before = iter(self._before[len(self._variables) :])
        parts = iter(metric_merging.separated(summed[-1], self._states))
        for metric, merge, spare in self._merges:
            number = len(metric.weights)
            metric_merging.merge_ranks(
                merge,
                metric,
                spare,
                list(itertools.islice(before, number)),
                list(itertools.islice(parts, number)),
            )
