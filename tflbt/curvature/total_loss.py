"""The loss of a sub-batch as a sum over its samples, so that sub-batches and ranks add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


class TotalLoss:
    r"""Sum over samples of the loss that Keras would average.

    Keras reports `\frac1b \sum_i s_i \ell(y_i, f(x_i))` for a batch of b. This
    returns b times that; divided by the number of all samples, sub-batches of different
    sizes and the samples of all ranks give the loss of the one large batch. A loss whose
    reduction is SUM is averaged over the samples too. Regularisation and `add_loss`
    terms are not part of it; `with_penalties` adds them.

    Args:
        loss: What `compile` takes: a name, a function, a `tf.keras.losses.Loss`,
            or a list or dict of them for several outputs (None: that output does not count).
        loss_weights: What `compile` takes: default None (all 1), or a list or dict of factors.
        output_names: The model's output names, for dicts; default None.

    Raises:
        ValueError: A list or dict that does not fit the outputs, when called.

    Example:
        >>> total = TotalLoss("mse")
        >>> float(total(tf.constant([[1.0], [2.0]]), tf.constant([[0.0], [0.0]])))
        5.0
    """

    def __init__(self, loss: Any, loss_weights: Any = None, output_names: Any = None):
        """Resolve names and functions to Keras losses."""
        self.source = loss
        self._losses = tf.nest.map_structure(_loss_object, loss)
        self._loss_weights = loss_weights
        self._names = list(output_names or [])

    @property
    def key(self) -> tuple:
        """What two of these have in common when one compiled function serves both."""
        parts = tf.nest.flatten((self.source, self._loss_weights))
        return tuple(part if isinstance(part, (str, float, int)) else _Same(part) for part in parts)

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
            _sum_over_samples(loss, target, output, weight) * (1.0 if scale is None else scale)
            for output, target, loss, scale, weight in parts
            if loss is not None
        ]
        return tf.add_n([tf.cast(term, terms[0].dtype) for term in terms])


def total_loss_of(model: tf.keras.Model, loss: Any = None) -> TotalLoss:
    """Return the `TotalLoss` of `loss`, or else of what the model was compiled with.

    Raises:
        ValueError: No loss is given and the model was not compiled with one.
    """
    names = getattr(model, "output_names", None)
    if loss is not None:
        return TotalLoss(loss, None, names)
    compiled = getattr(model, "compiled_loss", None)
    if not getattr(model, "loss", None):
        raise ValueError(
            f"loss=None asks for the loss that model {model.name!r} was compiled with, and it has "
            "none: call model.compile(loss=...) first, or give loss=..."
        )
    return TotalLoss(model.loss, getattr(compiled, "_user_loss_weights", None), names)


def with_penalties(total: tf.Tensor, losses: Sequence[tf.Tensor] | None, outputs: Any) -> tf.Tensor:
    """Add loss terms of regularisers to the loss of a sub-batch, as Keras adds them to its mean.

    They count once per sample, so that sub-batches and ranks add up to the terms of the large batch: exactly for
    weights, and for a mean over the samples, which Keras's activity regularisers are.
    """
    if not losses:
        return total
    samples = tf.cast(tf.shape(tf.nest.flatten(outputs)[0])[0], total.dtype)
    return total + samples * tf.add_n([tf.reduce_sum(tf.cast(x, total.dtype)) for x in losses])


class _Same:
    """Compares equal for the very same object, and keeps it alive so that no other takes its id."""

    def __init__(self, value: Any):
        """Hold `value`."""
        self._value = value

    def __eq__(self, other: object) -> bool:
        """Compare by identity."""
        return isinstance(other, _Same) and self._value is other._value

    def __hash__(self) -> int:
        """Hash by identity."""
        return id(self._value)


class _FunctionLoss(tf.keras.losses.Loss):
    """A plain function `(y_true, y_pred) -> losses` as a Keras loss."""

    def __init__(self, function: Callable):
        """Wrap `function`."""
        super().__init__(name=getattr(function, "__name__", "loss").strip("<>"))
        self._function = function

    def call(self, y_true, y_pred):
        """Return one loss per sample."""
        return self._function(y_true, y_pred)


def _loss_object(loss: Any) -> tf.keras.losses.Loss | None:
    if loss is None:
        return None
    resolved = tf.keras.losses.get(loss)
    return resolved if isinstance(resolved, tf.keras.losses.Loss) else _FunctionLoss(resolved)


def _sum_over_samples(loss, target, output, weight) -> tf.Tensor:
    """Return (number of samples) x (Keras's mean), whatever reduction `loss` was made with."""
    target, weight = _fit_output(target, output, weight)
    value = loss(target, output, sample_weight=weight)
    samples = tf.cast(tf.shape(output)[0], value.dtype)
    if loss.reduction == tf.keras.losses.Reduction.SUM:
        return value
    if loss.reduction == tf.keras.losses.Reduction.NONE:
        return tf.math.divide_no_nan(tf.reduce_sum(value), tf.cast(tf.size(value), value.dtype)) * (
            samples
        )
    return value * samples


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
