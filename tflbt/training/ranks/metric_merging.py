"""Metrics whose states over several ranks are not the sums of the ranks' states: how each of them merges.

Keras's own metrics keep sums. What another metric does with its states is looked at once, on real samples in two parts,
a and b: the states after a and then b must be those of a and of b, merged.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import legacy_keras

RTOL = 1e-4  # of float32 sums in another order


@dataclasses.dataclass(frozen=True)
class Merge:
    """How a metric's states merge.

    Attributes:
        ways: For each state "sum", "max", "min", or the number of the state that counts what this one is the mean of;
            None: the metric's own `merge_state`.
        initial: The states after a reset.
    """

    ways: tuple[Any, ...] | None
    initial: list[np.ndarray]

    @property
    def sums(self) -> bool:
        """Whether all states are sums that begin with zero, which need nothing but a sum over the ranks."""
        zero = all(state.dtype != bool and not state.any() for state in self.initial)
        return zero and self.ways is not None and all(way == "sum" for way in self.ways)


@dataclasses.dataclass(frozen=True)
class Seen:
    """A metric's states after two parts of the samples."""

    initial: list[np.ndarray]
    first: list[np.ndarray]
    second: list[np.ndarray]
    both: list[np.ndarray]


def is_keras(metric: tf.keras.metrics.Metric) -> bool:
    """Whether a metric is of one of Keras's own classes, which all keep sums."""
    return legacy_keras.package_of(metric) == "keras"


def ways_of(pairs: list[Seen]) -> tuple[Any, ...] | None:
    """How each state merges, as all pairs of parts have it; None where that is not known of some state."""
    numbers = range(len(pairs[0].initial))
    ways: list[Any] = [_way(pairs, number) for number in numbers]
    ways = [
        _mean(pairs, number, ways) if ways[number] is None else ways[number] for number in numbers
    ]
    return None if None in ways else tuple(ways)


def _way(pairs: list[Seen], number: int) -> str | None:
    states = [
        [np.asarray(part[number]) for part in (pair.initial, pair.first, pair.second, pair.both)]
        for pair in pairs
    ]
    initial = states[0][0]
    unmoved = all(_same(initial, part) for parts in states for part in parts)
    ways: dict[str, Callable[[Any, Any, Any], Any]] = {
        "sum": lambda start, a, b: a - start + b,
        "max": lambda start, a, b: np.maximum(a, b),
        "min": lambda start, a, b: np.minimum(a, b),
    }
    if initial.dtype == bool or not np.isfinite(initial).all():
        ways.pop("sum")
        if unmoved:  # a flag that was not raised, or an extreme without a sample
            return "max" if np.all(initial < 1) else "min"
    for name, merged in ways.items():
        if all(_close(merged(start, a, b), both) for start, a, b, both in states):
            return name
    return None


def _mean(pairs: list[Seen], number: int, ways: list[str | None]) -> int | None:
    """The number of the scalar state of counts by which this one is a mean."""
    for counter, way in enumerate(ways):
        if way != "sum" or np.ndim(pairs[0].initial[counter]) or pairs[0].initial[counter]:
            continue
        counts = [(pair.first[counter], pair.second[counter]) for pair in pairs]
        if all(a > 0 and b > 0 for a, b in counts) and all(
            _close((pair.first[number] * a + pair.second[number] * b) / (a + b), pair.both[number])
            for pair, (a, b) in zip(pairs, counts)
        ):
            return counter
    return None


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _close(found: Any, wanted: Any) -> bool:
    if np.asarray(wanted).dtype.kind != "f":
        return np.array_equal(found, wanted)
    return np.allclose(found, wanted, rtol=RTOL, atol=1e-6, equal_nan=True)


def results_close(found: Any, wanted: Any) -> bool:
    """Whether two results of a metric, tensors or nests of them, are equal to rounding."""
    pairs = zip(tf.nest.flatten(found), tf.nest.flatten(wanted))
    return all(_close(np.asarray(a), np.asarray(b)) for a, b in pairs)


def overrides_merge_state(metric: tf.keras.metrics.Metric) -> bool:
    """Whether a metric has a `merge_state` of its own."""
    theirs = tf.keras.metrics.Metric, tf.keras.metrics.experimental.PyMetric
    return type(metric).merge_state not in [cls.merge_state for cls in theirs]


def merge_ranks(
    merge: Merge, metric: Any, spare: Any, before: list[tf.Tensor], parts: list[tf.Tensor]
) -> None:
    """Gives a metric its states `before`, merged with those of all ranks.

    Args:
        merge: How they merge.
        metric: The metric.
        spare: Another metric of its kind.
        before: Its states before, the same on all ranks.
        parts: What has been added on each rank: a tensor `[ranks, *shape]` for each state, begun from `merge.initial`.
    """
    if merge.ways is None:
        _by_merge_state(merge, metric, spare, before, parts)
        return
    for number, (variable, way) in enumerate(zip(metric.weights, merge.ways)):
        start, part = before[number], parts[number]
        if way == "sum":
            initial = tf.constant(merge.initial[number], part.dtype)
            value = start + tf.reduce_sum(part - initial, 0)
        elif way in ("max", "min"):
            flags = part.dtype.is_bool
            stacked = tf.concat([start[None], part], 0)
            stacked = tf.cast(stacked, tf.int32) if flags else stacked
            reduce = tf.reduce_max if way == "max" else tf.reduce_min
            value = tf.cast(reduce(stacked, 0), part.dtype)
        else:
            value = _weighted(start, part, before[way], parts[way])
        variable.assign(value)


def _weighted(start: tf.Tensor, part: tf.Tensor, count: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """The mean of means by their counts; the mean before where there is nothing."""
    shape = [-1, *[1] * (part.shape.rank - 1)]
    counts = tf.reshape(tf.cast(counts, part.dtype), shape)
    count = tf.cast(count, part.dtype)
    total = count + tf.reduce_sum(counts)
    # A rank without samples has the weight 0 even where its mean is not a number.
    parts = tf.reduce_sum(tf.math.multiply_no_nan(part, tf.broadcast_to(counts, tf.shape(part))), 0)
    value = (
        tf.math.multiply_no_nan(start, tf.broadcast_to(count, tf.shape(start))) + parts
    ) / total
    return tf.where(total > 0, value, start)


def _by_merge_state(
    merge: Merge, metric: Any, spare: Any, before: list[tf.Tensor], parts: list[tf.Tensor]
) -> None:
    """Merges one rank after another; a rank without samples has nothing to merge."""

    def assign(target: Any, values: list[tf.Tensor]) -> None:
        for variable, value in zip(target.weights, values):
            variable.assign(value)

    def empty(states: list[Any]) -> tf.Tensor:
        alike = [
            tf.reduce_all(tf.equal(state, tf.constant(initial, state.dtype)))
            for state, initial in zip(states, merge.initial)
        ]
        return tf.reduce_all(alike)

    def add_rank(rank: tf.Tensor) -> list[tf.Tensor]:
        mine = [part[rank] for part in parts]

        def add() -> tf.Tensor:
            assign(spare, mine)
            metric.merge_state([spare])
            return tf.constant(0)

        def take() -> tf.Tensor:
            assign(metric, mine)
            return tf.constant(0)

        def either() -> tf.Tensor:
            return tf.cond(empty([v.read_value() for v in metric.weights]), take, add)

        tf.cond(empty(mine), lambda: tf.constant(0), either)
        return [rank + 1]

    assign(metric, before)
    ranks = tf.shape(parts[0])[0]
    tf.while_loop(lambda rank: rank < ranks, add_rank, [tf.constant(0)], parallel_iterations=1)


def gathered(states: list[tf.Tensor], rank: Any, ranks: Any) -> tf.Tensor:
    """This rank's row of a matrix of all ranks' states, float32 `[ranks, bytes]`: summed, it is exact."""
    flat = [tf.reshape(_bytes(state), [-1]) for state in states]
    row = tf.cast(tf.concat(flat, 0), tf.float32)
    return tf.pad(row[None], [[rank, ranks - rank - 1], [0, 0]])


def separated(summed: tf.Tensor, like: list[tf.Tensor]) -> list[tf.Tensor]:
    """All ranks' states, each `[ranks, *shape]`, given the sum of `gathered`."""
    found, at = [], 0
    for state in like:
        dtype = tf.uint8 if state.dtype.is_bool else state.dtype
        length = state.shape.num_elements() * dtype.size
        part = tf.cast(summed[:, at : at + length], tf.uint8)
        shape = [tf.shape(summed)[0], *state.shape]
        part = tf.bitcast(
            tf.reshape(part, shape if dtype.size == 1 else [*shape, dtype.size]), dtype
        )
        found.append(tf.cast(part, state.dtype))
        at += length
    return found


def _bytes(state: tf.Tensor) -> tf.Tensor:
    return tf.bitcast(tf.cast(state, tf.uint8) if state.dtype.is_bool else state, tf.uint8)


def spare_of(metric: Any) -> Any:
    """Another metric of the same kind, whose states do not count."""
    return copy.deepcopy(metric)


def pairs_of(parts: list[Any]) -> list[tuple[Any, Any]]:
    """The pairs (a, b), (b, a) and (a, a): what depends on the order, and an extreme, shows in them."""
    first, second = parts
    return (
        [*itertools.permutations(parts), (first, first)]
        if second is not first
        else [(first, first)]
    )
