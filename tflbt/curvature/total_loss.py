"""The loss of a sub-batch as a sum over its samples, so that sub-batches and ranks add up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


class TotalLoss:
    r"""Sum over samples of the loss that Keras would average.

    Keras reports `\frac1b \sum_i s_i \ell(y_i, f(x_i))` for a batch of b. This returns b times that; divided by the
    number of all samples, sub-batches of different sizes and the samples of all ranks give the loss of the one large
    batch. Keras averages a loss with a mask over the elements that it leaves: `samples_per_valid` says how many samples
    stand for one of them. A loss whose reduction is SUM is averaged over the samples too. `loss` and `loss_weights` are
    what `compile` takes, dicts by `output_names` included (None: that output does not count); ValueError, when called,
    for one that does not fit the outputs. `of_pass` adds regularisation and `add_loss` terms with `regularization`.
    """

    def __init__(
        self,
        loss: Any,
        loss_weights: Any = None,
        output_names: Any = None,
        regularization: bool = False,
    ) -> None:
        self.source = loss
        self._losses = tf.nest.map_structure(_loss_object, loss)
        self._loss_weights = loss_weights
        self._names = list(output_names or [])
        self.regularization = regularization
        # Where masks may come with outputs: for each output, samples per element that counts, of all sub-batches.
        self.samples_per_valid: tf.Variable | None = None

    @property
    def key(self) -> str:
        """What two of these have in common when one compiled function, which keeps its own alive, serves both.

        The names of outputs in dicts are part of it, and objects count by identity.
        """
        whole = (self.source, self._loss_weights, self.regularization)
        return repr(
            tf.nest.map_structure(lambda x: x if isinstance(x, (str, float, int)) else id(x), whole)
        )

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        """Return the sum over the samples of one sub-batch."""
        outputs = _per_output(y_pred, y_pred, self._names, "y_pred")
        parts = zip(
            outputs,
            _per_output(y_true, y_pred, self._names, "y"),
            _per_output(self._losses, y_pred, self._names, "loss", broadcast=True),
            _per_output(self._loss_weights, y_pred, self._names, "loss_weights", broadcast=True),
            _per_output(sample_weight, y_pred, self._names, "sample_weight", broadcast=True),
        )
        terms = [
            self._sum_over_samples(place, loss, target, output, weight)
            * (1.0 if scale is None else scale)
            for place, (output, target, loss, scale, weight) in enumerate(parts)
            if loss is not None
        ]
        return tf.add_n([tf.cast(term, terms[0].dtype) for term in terms])

    def _sum_over_samples(self, place: int, loss, target, output, weight) -> tf.Tensor:
        """Return (number of samples) x (Keras's mean), whatever reduction `loss` was made with."""
        target, weight = _fit_output(target, output, weight)
        valid = valid_elements(output)
        value = loss(target, output, sample_weight=weight)
        samples = tf.cast(tf.shape(output)[0], value.dtype)
        if loss.reduction == tf.keras.losses.Reduction.SUM:
            return value
        if loss.reduction == tf.keras.losses.Reduction.NONE:
            size = tf.cast(tf.size(value), value.dtype)
            value = tf.math.divide_no_nan(tf.reduce_sum(value), size)
        elif valid is not None and self.samples_per_valid is not None:
            samples = tf.cast(valid * self.samples_per_valid[place], value.dtype)
        return value * samples

    def of_pass(self, net: Any, outputs: Any, y: Any, weight: Any, dtype: tf.DType) -> tf.Tensor:
        """Return the sum for what `net` has just computed of one sub-batch, with its `losses` if they count.

        They count once per sample, so that sub-batches and ranks add up to the terms of the large batch: exactly for
        weights, and for a mean over the samples, which Keras's activity regularisers are.
        """
        total = tf.cast(self(y, outputs, weight), dtype)
        losses = net.losses if self.regularization else []
        if not losses:
            return total
        samples = tf.cast(tf.shape(tf.nest.flatten(outputs)[0])[0], dtype)
        return total + samples * tf.add_n([tf.reduce_sum(tf.cast(x, dtype)) for x in losses])


def total_loss_of(
    model: tf.keras.Model, loss: Any = None, regularization: bool = False
) -> TotalLoss:
    """Return the `TotalLoss` of `loss`, or else of what the model was compiled with; raises ValueError for neither."""
    names = getattr(model, "output_names", None)
    if loss is not None:
        return TotalLoss(loss, None, names, regularization)
    if not getattr(model, "loss", None):
        raise ValueError(
            f"loss=None asks for the loss that model {model.name!r} was compiled with, and it has "
            "none: call model.compile(loss=...) first, or give loss=..."
        )
    weights = getattr(getattr(model, "compiled_loss", None), "_user_loss_weights", None)
    return TotalLoss(model.loss, weights, names, regularization)


class _FunctionLoss(tf.keras.losses.Loss):
    """A plain function `(y_true, y_pred) -> losses` as a Keras loss."""

    def __init__(self, function: Callable):
        super().__init__(name=getattr(function, "__name__", "loss").strip("<>"))
        self._function = function

    def call(self, y_true, y_pred):
        return self._function(y_true, y_pred)


def _loss_object(loss: Any) -> tf.keras.losses.Loss | None:
    if loss is None:
        return None
    resolved = tf.keras.losses.get(loss)
    return resolved if isinstance(resolved, tf.keras.losses.Loss) else _FunctionLoss(resolved)


def valid_elements(output: tf.Tensor) -> tf.Tensor | None:
    """Return how many elements the mask of an output leaves, or None without a mask."""
    mask = getattr(output, "_keras_mask", None)
    return None if mask is None else tf.reduce_sum(tf.cast(mask, tf.float32))


def _fit_output(target, output, weight) -> tuple[Any, Any]:
    """Give targets and weights the rank and type of the output, as Keras's own training does."""
    column = output.shape.rank == 2
    if column and target.shape.rank == 1:
        target = tf.expand_dims(target, -1)
    if target.dtype.is_floating and output.dtype.is_floating:
        target = tf.cast(target, output.dtype)
    if weight is not None:
        weight = tf.cast(weight, output.dtype)
        if column and weight.shape.rank == 1:
            weight = tf.expand_dims(weight, -1)
    return target, weight


def _per_output(value, outputs, names, argument, broadcast=False) -> list:
    """Line up a value, list or dict with the model's outputs, in the order of its outputs."""
    keys = sorted(outputs) if isinstance(outputs, dict) else names
    count = len(tf.nest.flatten(outputs))
    if isinstance(value, dict):
        unknown = sorted(set(value) - set(keys))
        if unknown:
            raise ValueError(
                f"{argument} names outputs {unknown} that the model does not have: {list(keys)}"
            )
        return [value.get(key) for key in keys]
    if isinstance(value, (list, tuple)):
        if len(value) != count:
            raise ValueError(f"{argument} has {len(value)} entries for {count} model outputs")
        return list(value)
    if count == 1 or broadcast:
        return [value] * count
    raise ValueError(f"{argument} is one array for {count} model outputs: give a list or a dict")
