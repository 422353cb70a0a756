"""Hessian-vector products for any variables of a model, every sub-batch run through all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tflbt.curvature.finite_difference import central_difference
from tflbt.curvature.full_precision import run_in_full_precision
from tflbt.curvature.hessian import gradient, hessian_product
from tflbt.curvature.kept_variables import moved_variables
from tflbt.curvature.power_iteration import MatVec, Vector
from tflbt.curvature.samples import Samples, with_nones, without_nones
from tflbt.curvature.total_loss import TotalLoss, with_penalties
from tflbt.distributed import comm

_ATTRIBUTE = "_tflbt_whole_model"


class WholeModel:
    """The sums over one sub-batch, compiled once for a model, a loss and a set of variables.

    Args:
        model: A built model; it runs in inference mode, mixed precision as float32.
        variables: The trainable variables that the Hessian is taken over.
        total_loss: The loss as a sum over samples.
        specs: The `tf.TensorSpec` of ``(x, y, sample_weight)``.
        regularization: Whether the model's own loss terms count.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        variables: Sequence[tf.Variable],
        total_loss: TotalLoss,
        specs,
        regularization: bool,
    ):
        """Set up what is traced at first use."""
        self.variables = list(variables)
        shapes = [tf.TensorSpec(v.shape, v.dtype) for v in self.variables]
        inputs, *structure = specs
        batch = [inputs, without_nones(structure)]

        def total(x, targets):
            y, weight = with_nones(structure, targets)
            outputs = run_in_full_precision(model, lambda: model(x, training=False))
            losses = model.losses if regularization else None
            value = tf.cast(total_loss(y, outputs, weight), self.variables[0].dtype)
            return with_penalties(value, losses, outputs)

        def slopes(x, targets):
            return gradient(lambda: total(x, targets), self.variables)

        def product(x, targets, vector):
            return hessian_product(lambda: total(x, targets), self.variables, vector)

        self.gradient = tf.function(slopes, input_signature=batch)
        self.product = tf.function(product, input_signature=[*batch, shapes])

    def exact(self, samples: Samples, reduction: comm.Reduction) -> MatVec:
        r"""Return ``v -> Hv`` by double differentiation, averaged over all ranks' samples.

        Samples that fit one sub-batch go forward and backward once, here; a product is then
        the second backward pass alone,

        .. math:: H v = \Big(\frac{\partial\, \nabla F}{\partial w}\Big)^\top v,

        2.1 gradients' time instead of 3.0 (ResNet-20, CPU). Its price is the memory of two backward
        passes, for as long as the function returned lives.
        """
        if 0 < samples.count <= samples.sub_batch_size:
            ((x, *targets),) = samples.sub_batches()
            second = self._linearised(x, without_nones(targets))
            return lambda vector: self._mean(second(vector), samples.count, reduction)

        def matvec(vector: Vector) -> Vector:
            sums = self._over(samples, lambda *batch: self.product(*batch, vector))
            return self._mean(sums, samples.count, reduction)

        return matvec

    def _linearised(self, x, targets) -> MatVec:
        """Return what differentiates the gradient of one sub-batch again and again."""
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(self.variables)
            slopes = self.gradient(x, targets)
        return lambda vector: tape.gradient(
            slopes,
            self.variables,
            output_gradients=[tf.convert_to_tensor(part) for part in vector],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )

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

    def moved(self) -> list[tf.Variable]:
        """Return what a compiled pass might write besides the variables it is told to move."""
        return moved_variables(self.gradient.get_concrete_function().graph)

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
    regularization: bool = False,
) -> WholeModel:
    """Return the compiled `WholeModel` kept with the model, made anew if anything changed.

    Args:
        model: A built model.
        variables: The variables that the Hessian is taken over.
        total_loss: The loss as a sum over samples.
        samples: The samples, for their shapes.
        regularization: Default False. Whether the model's own loss terms count.

    Returns:
        The compiled sums.
    """
    specs = samples.specs()
    chosen = tuple(id(v) for v in variables)
    key = (chosen, total_loss.key, repr(specs), regularization, id(model))
    last, whole = model.__dict__.get(_ATTRIBUTE, (None, None))
    if last != key:
        whole = WholeModel(model, variables, total_loss, specs, regularization)
        model.__dict__[_ATTRIBUTE] = (key, whole)
    return whole
