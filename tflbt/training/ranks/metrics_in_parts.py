"""Whether metrics that Keras does not know are the same over sub-batches, and how those of several ranks merge."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt.training.ranks import metric_merging
from tflbt.training.ranks.batch_parts import joined
from tflbt.training.ranks.metric_merging import Merge, Seen
from tflbt.training.ranks.probe import ONE_NUMBER, Probe, RefusedError


def merges(probe: Probe, places: list[int]) -> dict[int, Merge]:
    """How the metrics at some places merge over ranks where they are not sums; names what sub-batches make another.

    Raises:
        RefusedError: If nobody knows how a metric merges.
    """
    found = {}
    for number in places:
        metric = probe.model.metrics[number]
        test_step = _moved_by_test_step(probe, metric)
        _tell_of_halves(probe, metric, test_step)
        if probe.model.reduction.varies and not metric_merging.is_keras(metric):
            merge = _merge_of(probe, metric, test_step)
            if not merge.sums:
                found[number] = merge
    return found


def _moved_by_test_step(probe: Probe, metric: Any) -> bool:
    """Whether a metric is updated in the model's own `test_step` alone."""
    if type(probe.model).test_step is tf.keras.Model.test_step:
        return False
    metric.reset_state()
    before = _states(metric)
    probe.run(probe.parts[0])
    return all(map(np.array_equal, before, _states(metric)))


def _tell_of_halves(probe: Probe, metric: Any, test_step: bool) -> None:
    """Says so where a metric is not the same over two sub-batches as over both at once, or may not be."""
    texts = []
    if f"metric {metric.name}" in probe.of_one_number:
        texts.append(ONE_NUMBER)
    if difference := _difference(probe, metric, test_step):
        texts.append(difference)
    if texts:
        logging.warning("metric %s: %s", metric.name, " ".join(texts))


def _difference(probe: Probe, metric: Any, test_step: bool) -> str:
    """How a metric over two sub-batches differs from that over both at once; empty where it does not."""
    both = joined(probe.parts)

    def over(*batches: Any) -> Any:
        probe.run(*batches, test_step=test_step)
        return _result(metric)

    wanted = over(both)
    if not metric_merging.results_close(over(both), wanted):
        return ""  # it is of random numbers
    if not metric_merging.results_close(over(*probe.parts), wanted):
        return (
            "It is another over two sub-batches than over both at once: it is computed on sub-batches of each rank, so "
            "that its values are not those that Keras has over whole batches."
        )
    if not isinstance(metric, tf.keras.metrics.Mean) and not metric_merging.results_close(
        over(both, probe.parts[0]), over(joined([both, probe.parts[0]]))
    ):
        return (
            "It counts sub-batches of unequal sizes equally: where an update's last sub-batch is short, its values are "
            "not quite those that Keras has over whole batches. Count samples."
        )
    return ""


def _merge_of(probe: Probe, metric: Any, test_step: bool) -> Merge:
    """How the states of a metric merge.

    Raises:
        RefusedError: If nobody knows.
    """
    metric.reset_state()
    initial = _states(metric)
    pairs = []
    for a, b in metric_merging.pairs_of(probe.parts):
        after, results = [], []
        for batches in ([a], [b], [a, b]):
            probe.run(*batches, test_step=test_step)
            after.append(_states(metric))
            results.append(_result(metric))
        pairs.append(Seen(initial, *after))
        _set(metric, after[1])
        if not metric_merging.results_close(_result(metric), results[1]):
            raise RefusedError(
                f"metric {metric.name!r} ({type(metric).__name__}) keeps something outside of the states that "
                "add_weight makes, which cannot be merged over ranks: make all of it with add_weight."
            )
    if metric_merging.overrides_merge_state(metric) and _merges_itself(probe, metric, pairs):
        return Merge(None, initial)
    ways = metric_merging.ways_of(pairs)
    if ways is None:
        raise RefusedError(
            f"metric {metric.name!r} ({type(metric).__name__}) cannot be merged over "
            f"{probe.model.reduction.size} ranks: its states after two parts of the samples are not the sums, "
            "extremes or means of those after each. Keep sums, or override merge_state so that it merges exactly."
        )
    return Merge(ways, initial)


def _merges_itself(probe: Probe, metric: Any, pairs: list[Seen]) -> bool:
    """Whether a metric's own `merge_state` is exact."""
    try:
        spare = metric_merging.spare_of(metric)
    except Exception as error:
        raise RefusedError(
            f"metric {metric.name!r} ({type(metric).__name__}) has a merge_state, but another of its kind cannot "
            f"be made from its get_config: override that. ({error})"
        ) from error
    for pair in pairs:
        _set(metric, pair.both)
        wanted = _result(metric)
        _set(metric, pair.first)
        _set(spare, pair.second)
        metric.merge_state([spare])
        if not metric_merging.results_close(_result(metric), wanted):
            return False
    return True


def _states(metric: Any) -> list[np.ndarray]:
    return [np.array(variable.numpy()) for variable in metric.weights]


def _set(metric: Any, states: list[np.ndarray]) -> None:
    for variable, value in zip(metric.weights, states):
        variable.assign(value)


def _result(metric: Any) -> Any:
    return tf.nest.map_structure(np.array, metric.result())
