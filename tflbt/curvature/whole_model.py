"""Hessian-vector products for any variables of a model, every sub-batch run through all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tflbt.curvature.finite_difference import central_difference
from tflbt.curvature.hessian import gradient, hessian_product
from tflbt.curvature.kept_variables import moved_variables
from tflbt.curvature.power_iteration import MatVec, Vector
from tflbt.curvature.samples import Samples, with_nones, without_nones
from tflbt.curvature.total_loss import TotalLoss
from tflbt.distributed import comm

_ATTRIBUTE = "_tflbt_whole_model"


class WholeModel:
    """The sums over one sub-batch, compiled once for a model, a loss and a set of variables.

    Args:
        model: A built model; it runs in inference mode and in its own precision.
        variables: The trainable variables that the Hessian is taken over.
        total_loss: The loss as a sum over samples.
        specs: The `tf.TensorSpec` of ``(x, y, sample_weight)``.
    """

    def __init__(
        self, model: tf.keras.Model, variables: Sequence[tf.Variable], total_loss: TotalLoss, specs
    ):
        """Set up what is traced at first use."""
        self.variables = list(variables)
        shapes = [tf.TensorSpec(v.shape, v.dtype) for v in self.variables]
        inputs, *structure = specs
        batch = [inputs, without_nones(structure)]

        def total(x, targets):
            y, weight = with_nones(structure, targets)
            value = total_loss(y, model(x, training=False), weight)
            return tf.cast(value, self.variables[0].dtype)

        def slopes(x, targets):
            return gradient(lambda: total(x, targets), self.variables)

        def product(x, targets, vector):
            return hessian_product(lambda: total(x, targets), self.variables, vector)

        self.gradient = tf.function(slopes, input_signature=batch)
        self.product = tf.function(product, input_signature=[*batch, shapes])

    def exact(self, samples: Samples, reduction: comm.Reduction) -> MatVec:
        """Return ``v -> Hv`` by double differentiation, averaged over all ranks' samples."""

        def matvec(vector: Vector) -> Vector:
            sums = self._over(samples, lambda *batch: self.product(*batch, vector))
            return self._mean(sums, samples.count, reduction)

        return matvec

    def finite_difference(self, samples: Samples, step: float, reduction: comm.Reduction) -> MatVec:
        """Return ``v -> Hv`` by central differences, moving the model's own variables.

        Use it inside ``kept(variables)``.
        """
        values = [tf.identity(variable) for variable in self.variables]

        def matvec(vector: Vector) -> Vector:
            sums = central_difference(
                lambda: self._over(samples, self.gradient), self.variables, values, vector, step
            )
            return self._mean(sums, samples.count, reduction)

        return matvec

    def moved(self, function: Any) -> list[tf.Variable]:
        """Return what a compiled pass might write besides the variables it is told to move."""
        return moved_variables(function.get_concrete_function().graph)

    def _over(self, samples: Samples, function: Callable[..., Vector]) -> Vector:
        sums = [tf.zeros(variable.shape, variable.dtype) for variable in self.variables]
        for x, *targets in samples.sub_batches():
            parts = function(x, without_nones(targets))
            sums = [total + part for total, part in zip(sums, parts)]
        return sums

    def _mean(self, sums: Vector, count: int, reduction: comm.Reduction) -> Vector:
        mine = [*sums, tf.constant(count, sums[0].dtype)]
        *totals, samples = comm.all_reduce_sum(mine, "tflbt.curvature", reduction)
        return [total / samples for total in totals]


def whole_model(
    model: tf.keras.Model,
    variables: Sequence[tf.Variable],
    total_loss: TotalLoss,
    samples: Samples,
) -> WholeModel:
    """Return the compiled `WholeModel` kept with the model, made anew if anything changed.

    Args:
        model: A built model.
        variables: The variables that the Hessian is taken over.
        total_loss: The loss as a sum over samples.
        samples: The samples, for their shapes.

    Returns:
        The compiled sums.
    """
    key = (tuple(id(v) for v in variables), total_loss.key, repr(samples.specs()), id(model))
    last, whole = model.__dict__.get(_ATTRIBUTE, (None, None))
    if last != key:
        whole = WholeModel(model, variables, total_loss, samples.specs())
        model.__dict__[_ATTRIBUTE] = (key, whole)
    return whole


def variables_of(model: tf.keras.Model, layers: str | Sequence[str]) -> list[tf.Variable]:
    """Return the trainable variables of the layers named, or of all.

    Args:
        model: A built model.
        layers: "all", or the name of a layer or a sequence of names, as in ``layer.name``; layers
            of models inside the model may be named too.

    Returns:
        The variables, in the model's order, each once.

    Raises:
        ValueError: A name the model has not, or nothing to train in the layers named.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, name="a", input_shape=(2,))])
        >>> [tuple(variable.shape) for variable in variables_of(model, ["a"])]
        [(2, 1), (1,)]
    """
    if layers == "all":
        chosen = list(model.trainable_variables)
    else:
        names = [layers] if isinstance(layers, str) else list(layers)
        parts = [part for part in model.submodules if isinstance(part, tf.keras.layers.Layer)]
        known = {part.name: part for part in [*parts, *model.layers]}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(
                f"layers={layers!r}: the model has no layer {unknown}. Give "
                f'"output", "all", or names among {sorted(known)}'
            )
        inside = {id(v) for name in names for v in known[name].trainable_variables}
        chosen = [v for v in model.trainable_variables if id(v) in inside]
    if not chosen:
        raise ValueError(f"layers={layers!r} selects no trainable variable of {model.name!r}")
    return chosen
