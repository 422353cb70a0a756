"""Whether a loss and metrics that Keras does not know bear being computed in parts: looked at on real samples, once.

A training in sub-batches and on ranks needs losses that are means over samples, and metrics whose states can be merged.
Nothing is looked at where all of them are Keras's own.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt.data import forms
from tflbt.distributed import comm
from tflbt.training import batch_wise, keras_internals
from tflbt.training.pending_metrics import metric_variables, preserved
from tflbt.training.ranks import metric_merging
from tflbt.training.ranks.metric_merging import Merge, Seen
from tflbt.training.update_state import TrainingModel

SAMPLES = 64  # at most so many are looked at
EMPTY = 100  # sub-batches that are passed over, at most, for one that has samples


class RefusedError(ValueError):
    """What cannot be computed in parts."""


def examine(model: Any, batches: Any, sub_batches: int) -> Any:
    """Refuses a loss that is no mean over samples, and metrics that cannot be merged; finds how the others merge.

    Where one process takes its batch as a whole, a loss that is no mean is refused once `batch_size` grows.

    Args:
        model: The model, built and the same on all ranks.
        batches: What a `fit` or an evaluation is about to read.
        sub_batches: How many of them make an update of a rank, at most.

    Returns:
        `batches`, to be read instead.

    Raises:
        ValueError: If the loss or a metric is refused, by name.
    """
    state, ranks = model.update_state, model.reduction.size
    whole = ranks * sub_batches == 1
    divided = not whole and (own_metrics(model) or batch_wise.kept_by_layers(model))
    if state.examined or not (own_loss(model) or divided):
        return batches

    def look() -> dict[int, Merge]:
        nonlocal batches
        course = state.course.read_value()
        state.course.assign([0, 1, 0])  # what whole arrays deal before a fit begins
        first, batches = _first(batches)
        state.course.assign(course)
        return {} if first is None else _look(model, first, whole)

    merges = comm.on_chief(look, "tflbt.split_check", model.reduction)
    state.examined = not whole
    metrics = model.metrics
    for number, merge in merges.items():
        spare = metric_merging.spare_of(metrics[number]) if merge.ways is None else None
        state.merges.append((metrics[number], merge, spare))
    if merges:  # the functions may have been traced
        model.train_function = model.test_function = None
    return batches


def own_loss(model: Any) -> bool:
    """Whether a part of the loss is not Keras's own."""
    return (
        type(model).compute_loss is not tf.keras.Model.compute_loss
        or keras_internals.has_added_losses(model)
        or not all(_is_keras(loss) for loss in tf.nest.flatten(model.loss) if loss is not None)
    )


def _is_keras(loss: Any) -> bool:
    loss = tf.keras.losses.get(loss) if isinstance(loss, str) else loss
    parts = [loss, getattr(loss, "fn", None)]
    modules = [getattr(part, "__module__", "") for part in parts if part is not None]
    return all(str(module).split(".")[0] in ("keras", "tflbt") for module in modules)


def own_metrics(model: TrainingModel) -> list[int]:
    """The places of the metrics that are not Keras's own, or that the model's own code updates.

    In one process they can only differ from whole batches.
    """
    compiled = [*model.compiled_loss.metrics, *model.compiled_metrics.metrics]
    return [
        number
        for number, metric in enumerate(model.metrics)
        if not metric_merging.is_keras(metric)
        or not _is_keras(keras_internals.function_of(metric))
        or all(metric is not each for each in compiled)
    ]


def _first(batches: Any) -> tuple[Any, Any]:
    """The first batch, and the batches with it."""
    if isinstance(batches, tf.data.Dataset):
        # A rank's share may begin with empty sub-batches.
        full = (each for each in batches.take(EMPTY) if tf.nest.flatten(each)[0].shape[0])
        return next(full, None), batches
    if isinstance(batches, tf.keras.utils.Sequence):
        return _as_tensors(batches[0]), batches
    batches = iter(batches)
    first = next(batches)
    return _as_tensors(first), itertools.chain([first], batches)


def _as_tensors(batch: Any) -> Any:
    parts = batch if isinstance(batch, (tuple, list)) else (batch,)
    parts = [part for part in parts if part is not None]
    arrays = tuple(forms.as_arrays(part) for part in parts)
    return tf.nest.map_structure(
        lambda leaf: tf.convert_to_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf, arrays
    )


def _look(model: TrainingModel, batch: Any, whole: bool) -> dict[int, Merge]:
    """Looks at a loss and metrics; leaves no trace but notices."""
    model.update_state.refusal = None
    generators = [generator.state for generator in keras_internals.random_generators(model)]
    try:
        with preserved([*model.weights, *metric_variables(model), *generators]):
            look = _Look(model, batch)
            if own_loss(model):
                look.check_loss(quiet=whole)
            if whole:
                return {}
            batch_wise.tell_of_states(model, tf.keras.utils.unpack_x_y_sample_weight(batch)[0])
            return look.merges()
    except RefusedError as error:
        if not whole:
            raise
        model.update_state.refusal = str(error)
        return {}
    except Exception as error:  # noqa: BLE001 - whatever a user's code raises on a part of a batch
        logging.log(
            logging.DEBUG if whole else logging.WARNING,
            "A loss or metric of one's own could not be computed on a part of a batch, so that nobody knows whether it "
            "is right over sub-batches and ranks: %s",
            error,
        )
        return {}


class _Look:
    """A model on parts of a batch."""

    def __init__(self, model: Any, batch: Any) -> None:
        self.model = model
        samples = int(tf.nest.flatten(batch)[0].shape[0])
        half = min(samples // 2, SAMPLES // 2)
        self.parts = [batch, batch]
        if half:
            self.parts = [_rows(batch, 0, half), _rows(batch, half, half)]

    def run(self, *batches: Any, test_step: bool = False) -> float:
        """Computes metrics from their start on some batches, and the loss on the last."""
        model = self.model
        model.reset_metrics()
        loss = 0.0
        for batch in batches:
            if test_step:
                model.test_step(batch)
                continue
            x, y, sample_weight = tf.keras.utils.unpack_x_y_sample_weight(batch)
            y_pred = model(x, training=False)
            loss = model.compute_loss(x, y, y_pred, sample_weight)
            model.compute_metrics(x, y, y_pred, sample_weight)
        return float(loss)

    def merges(self) -> dict[int, Merge]:
        """How the metrics of several ranks merge, by their place, where they are not sums."""
        found = {}
        for number in own_metrics(self.model):
            metric = self.model.metrics[number]
            test_step = self.moved_by_test_step(metric)
            self.tell_of_halves(metric, test_step)
            if self.model.reduction.size > 1 and not metric_merging.is_keras(metric):
                merge = self.merge_of(metric, test_step)
                if not merge.sums:
                    found[number] = merge
        return found

    def check_loss(self, *, quiet: bool) -> None:
        """Refuses a loss that grows with the number of samples: k sub-batches would make it k times too small."""
        some = _rows(self.parts[0], 0, 4)
        values = [self.run(_joined([some] * times)) for times in (1, 2, 3)]
        steps = np.diff(values)
        losses = [keras_internals.name_of(loss) for loss in tf.nest.flatten(self.model.loss)]
        name = ", ".join(losses)
        tolerance = 1e-6 + 1e-4 * abs(values[0])
        if abs(steps[0]) > tolerance and np.isclose(steps[0], steps[1], rtol=0.02):
            raise RefusedError(
                f"the loss ({name}, and what add_loss adds) has a part that is a sum over samples: it is "
                f"{values[0]:.6g} for some samples and {values[1]:.6g} for the same twice, so that its gradient "
                "would depend on the number of sub-batches and ranks. Return one loss per sample, or the mean."
            )
        halves = [self.run(part) for part in self.parts]
        both = self.run(_joined(self.parts))
        random = abs(both - self.run(_joined(self.parts))) > tolerance
        if not quiet and not random and abs(both - np.mean(halves)) > tolerance:
            logging.warning(
                "The loss (%s) over two sub-batches (%.6g) is not their mean (%.6g and %.6g): it is computed on "
                "sub-batches of each rank, not on whole batches as in Keras.",
                name,
                both,
                *halves,
            )

    def moved_by_test_step(self, metric: Any) -> bool:
        """Whether a metric is updated in the model's own `test_step` alone."""
        if type(self.model).test_step is tf.keras.Model.test_step:
            return False
        metric.reset_state()
        before = _states(metric)
        self.run(self.parts[0])
        return all(map(np.array_equal, before, _states(metric)))

    def tell_of_halves(self, metric: Any, test_step: bool) -> None:
        """Says so where a metric is not the same over two sub-batches as over both at once."""
        both = _joined(self.parts)

        def over(*batches: Any) -> Any:
            self.run(*batches, test_step=test_step)
            return _result(metric)

        wanted = over(both)
        if not metric_merging.results_close(over(both), wanted):
            return  # it is of random numbers
        if not metric_merging.results_close(over(*self.parts), wanted):
            logging.warning(
                "metric %r is another over two sub-batches than over both at once: it is computed on sub-batches of "
                "each rank, so that its values are not those that Keras has over whole batches.",
                metric.name,
            )
        elif not isinstance(metric, tf.keras.metrics.Mean) and not metric_merging.results_close(
            over(both, self.parts[0]), over(_joined([both, self.parts[0]]))
        ):
            logging.warning(
                "metric %r counts sub-batches of unequal sizes equally: where an update's last sub-batch is short, its "
                "values are not quite those that Keras has over whole batches. Count samples.",
                metric.name,
            )

    def merge_of(self, metric: Any, test_step: bool) -> Merge:
        """How the states of a metric merge.

        Raises:
            RefusedError: If nobody knows.
        """
        metric.reset_state()
        initial = _states(metric)
        pairs = []
        for a, b in metric_merging.pairs_of(self.parts):
            after, results = [], []
            for batches in ([a], [b], [a, b]):
                self.run(*batches, test_step=test_step)
                after.append(_states(metric))
                results.append(_result(metric))
            pairs.append(Seen(initial, *after))
            _set(metric, after[1])
            if not metric_merging.results_close(_result(metric), results[1]):
                raise RefusedError(
                    f"metric {metric.name!r} ({type(metric).__name__}) keeps something outside of the states that "
                    "add_weight makes, which cannot be merged over ranks: make all of it with add_weight."
                )
        if metric_merging.overrides_merge_state(metric) and self.merges_itself(metric, pairs):
            return Merge(None, initial)
        ways = metric_merging.ways_of(pairs)
        if ways is None:
            raise RefusedError(
                f"metric {metric.name!r} ({type(metric).__name__}) cannot be merged over "
                f"{self.model.reduction.size} ranks: its states after two parts of the samples are not the sums, "
                "extremes or means of those after each. Keep sums, or override merge_state so that it merges exactly."
            )
        return Merge(ways, initial)

    def merges_itself(self, metric: Any, pairs: list[Seen]) -> bool:
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


def _rows(batch: Any, start: int, number: int) -> Any:
    """Some samples of a batch."""

    def part(leaf: Any) -> Any:
        if isinstance(leaf, tf.SparseTensor):
            rest = [*leaf.shape[1:]]
            return tf.sparse.slice(leaf, [start, *[0] * len(rest)], [number, *rest])
        return leaf[start : start + number]

    return tf.nest.map_structure(part, batch)


def _joined(batches: list[Any]) -> Any:
    """The samples of several batches."""

    def join(*leaves: Any) -> Any:
        sparse = isinstance(leaves[0], tf.SparseTensor)
        return tf.sparse.concat(0, leaves) if sparse else tf.concat(leaves, 0)

    return tf.nest.map_structure(join, *batches)
