"""What a model's own `compute_metrics` or `test_step` returns, merged over sub-batches and ranks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt.data.user_functions import converted
from tflbt.training import keras_internals
from tflbt.training.conversion import overrides
from tflbt.training.update_state import TrainingModel


class ReturnedResults:
    """Calls a method of the model for each sub-batch, and has what it returns for all of them.

    A value that a metric's `result()` returned is read again when the metric has seen all sub-batches of all ranks.
    Keras keeps other values of its last batch; here they are means over the samples of the sub-batches and ranks of an
    update (or evaluation step), but the last sub-batch's where they depend on variables alone, such as the learning
    rate. A notice says so. Nothing is added where the method is Keras's: its results are those of `model.metrics`.
    """

    def __init__(self, model: TrainingModel, method: str) -> None:
        self.model, self.method = model, method
        # Keras's test_step returns what compute_metrics does.
        self._own = overrides.redefined(model, [method, "compute_metrics"])
        self._metrics: dict[str, tuple[Any, str | None]] = {}
        # With whether sub-batches are added up.
        self._values: dict[str, tuple[tf.Variable, bool]] = {}
        self._names: list[str] = []

    def call(self, number: tf.Tensor, *arguments: Any) -> None:
        """Calls the method for a sub-batch of some number of samples."""
        if not self._own:
            getattr(self.model, self.method)(*arguments)
            return
        metrics = _metrics(self.model)
        with _results_of(metrics) as found:
            results = converted(getattr(self.model, self.method))(*arguments)
        for metric in _metrics(self.model):
            # Created by this call, the first of all.
            if all(metric is not each for each in metrics):
                found.update(_parts(metric, keras_internals.last_result(metric)))
        if not isinstance(results, dict):
            raise ValueError(f"{self._who} must return a dict of results, not {results!r}.")
        self._names, known = list(results), set(self._values)
        for name, value in results.items():
            if id(value) in found:
                self._metrics[name] = found[id(value)][:2]
                self._check_shared(name, found[id(value)][0])
            else:
                self._add(name, value, number)
        if new := [name for name in self._values if name not in known]:
            logging.warning(
                "%s returns %s, not results of metrics: logged are their means over the samples of the sub-batches and "
                "ranks of an update or evaluation step, as they are before the optimizer's step. Return a "
                "tf.keras.metrics.Metric's result() to have it over all samples of an epoch.",
                *(self._who, ", ".join(new)),
            )

    def local(self, number: tf.Tensor) -> list[tf.Tensor]:
        """This rank's sums, over its number of samples, of the values that are no metric's."""
        sums = []
        for variable, is_sum in self._values.values():
            value = variable.read_value()
            sums.append(value if is_sum else value * tf.cast(number, value.dtype))
            variable.assign(tf.zeros_like(value))
        return sums

    def merged(self, sums: list[tf.Tensor], number: tf.Tensor) -> dict[str, Any]:
        """The results, given the sums and number of all ranks, once metrics are those of all ranks."""
        if not self._own:
            return self.model.get_metrics_result()
        means = {
            name: tf.math.divide_no_nan(total, tf.cast(number, total.dtype))
            for name, total in zip(self._values, sums)
        }
        for name, (metric, key) in self._metrics.items():
            result = metric.result()
            means[name] = result if key is None else result[key]
        return {name: means[name] for name in self._names}

    @property
    def _who(self) -> str:
        return f"{type(self.model).__name__}.{self._own[0]}"

    def _check_shared(self, name: str, metric: Any) -> None:
        if self.model.reduction.varies and all(metric is not each for each in self.model.metrics):
            raise ValueError(
                f"{self._who} returns {name!r} of a metric that is not among the model's metrics, so it cannot be "
                "merged over ranks: make it an attribute of the model, or list it in its `metrics`."
            )

    def _add(self, name: str, value: Any, number: tf.Tensor) -> None:
        """Takes in a value that is no metric's."""
        value = _as_tensor(value)
        if value is None or not value.shape.is_fully_defined() or not _is_number(value.dtype):
            raise ValueError(
                f"{self._who} returns {name!r}, which is neither the result of a metric nor numbers of a fixed shape, "
                "and cannot be merged over sub-batches: return a tf.keras.metrics.Metric's result."
            )
        dtype = tf.float64 if value.dtype == tf.float64 else tf.float32
        is_sum = _depends_on_data(value)
        if name not in self._values:
            with tf.init_scope():
                zeros = tf.zeros(value.shape, dtype)
                self._values[name] = (tf.Variable(zeros, trainable=False), is_sum)
        variable, is_sum = self._values[name]
        value = tf.cast(value, dtype)
        if is_sum:
            variable.assign_add(value * tf.cast(number, dtype))
        else:
            variable.assign(value)


def _metrics(model: TrainingModel) -> list[Any]:
    """The model's metrics, and others that are attributes of it."""
    others = [each for each in model.submodules if isinstance(each, tf.keras.metrics.Metric)]
    return list({id(metric): metric for metric in (*model.metrics, *others)}.values())


def _parts(metric: Any, result: Any) -> dict[int, tuple[Any, str | None, Any]]:
    """A metric's result, or its values if it is a dictionary, by id: the metric, the key in it, and the value."""
    items = result.items() if isinstance(result, dict) else [(None, result)]
    return {id(value): (metric, key, value) for key, value in items if value is not None}


@contextlib.contextmanager
def _results_of(metrics: list[Any]) -> Iterator[dict[int, tuple[Any, str | None, Any]]]:
    """Notes what the metrics' `result()` return meanwhile, as `_parts`."""
    found: dict[int, tuple[Any, str | None, Any]] = {}
    before = [metric.result for metric in metrics]

    def noting(metric: Any, result: Any) -> Any:
        def note(*arguments: Any) -> Any:
            value = result(*arguments)
            found.update(_parts(metric, value))
            return value

        return note

    try:
        for metric, result in zip(metrics, before):
            vars(metric)["result"] = noting(metric, result)  # Keras sets it for each metric
        yield found
    finally:
        for metric, result in zip(metrics, before):
            vars(metric)["result"] = result


def _as_tensor(value: Any) -> tf.Tensor | None:
    try:
        return tf.identity(tf.convert_to_tensor(value))
    except (TypeError, ValueError):
        return None


def _is_number(dtype: tf.DType) -> bool:
    return dtype.is_floating or dtype.is_integer or dtype.is_bool


def _is_constant(captured: tf.Tensor) -> bool:
    """Whether a tensor that a graph captured is a variable, or has a value already."""
    return captured.dtype == tf.resource or not tf.is_symbolic_tensor(captured)


def _depends_on_data(value: tf.Tensor) -> bool:
    """Whether a value is computed from more than constants and variables; True outside of a graph."""
    if tf.executing_eagerly():
        return True
    captured = [pair for pair in value.graph.captures if tf.is_tensor(pair[0])]
    constant = {id(inside) for outside, inside in captured if _is_constant(outside)}
    seen: set[int] = set()
    left = [value]
    while left:
        tensor = left.pop()
        if id(tensor) in seen or id(tensor) in constant:
            continue
        seen.add(id(tensor))
        if not tensor.op.inputs and tensor.op.type in ("Placeholder", "OptionalGetValue"):
            return True
        left.extend(tensor.op.inputs)
    return False
