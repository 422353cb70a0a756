"""Hessian-vector products of a block: the network has run once, its head runs at every product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tflbt.curvature.cut import Uncuttable
from tflbt.curvature.finite_difference import central_difference, input_squares, step_length
from tflbt.curvature.head import Head
from tflbt.curvature.hessian import gradient, hessian_product
from tflbt.curvature.power_iteration import power_loop
from tflbt.curvature.samples import with_nones, without_nones
from tflbt.curvature.total_loss import TotalLoss, with_penalties
from tflbt.distributed import comm

#: What the head's tensors of one chunk may take, unless a sub-batch needs more. Small layers see the
#: whole batch in a few calls, large convolutional heads stay within bounded memory.
CHUNK_BYTES = 32 * 2**20


class HeadOperator:
    """Products of a block's Hessian with vectors, and power iteration around them, as graphs.

    Args:
        head: The copied head.
        method: "finite_difference" or "exact".
        total_loss: The loss as a sum over samples.
        specs: Shapes and types of ``(y, sample_weight)``.
        reduction: Which ranks add up.
        regularization: Whether the loss terms of the head's layers count.

    Attributes:
        product: ``(features, targets, chunk, step, vector) -> Hv``, compiled.
        solve: The same, then ``start, iterations, tolerance`` in place of the vector: `power_loop`.

    Raises:
        TypeError: Layers or loss refuse the head's type.
        ValueError: Shapes of targets and outputs do not fit.
        LookupError: An operation has no second derivative.
        Uncuttable: Loss terms of layers that are called twice.
    """

    def __init__(
        self,
        head: Head,
        method: str,
        total_loss: TotalLoss,
        specs: tuple[Any, Any],
        reduction: comm.Reduction,
        regularization: bool,
    ):
        """Trace a product, so that types or shapes that do not fit are told here."""
        if regularization and head.shares_losses():
            raise Uncuttable("a layer with loss terms is called twice")
        self.head = head
        self._loss = total_loss
        self._exact = method == "exact"
        self._reduction = reduction
        self._structure = specs
        self._regularization = regularization
        vector = [tf.TensorSpec(variable.shape, head.dtype) for variable in head.variables]
        whole, real = (tf.TensorSpec([], dtype) for dtype in (tf.int32, head.dtype))
        batch = [head.feature_specs(), without_nones(specs), whole, real]
        self.product = tf.function(self._product, input_signature=[*batch, vector])
        self.product.get_concrete_function()
        self.solve = tf.function(self._solve, input_signature=[*batch, vector, whole, real])

    def _product(self, features, targets, chunk, step, vector) -> list[tf.Tensor]:
        """Return Hv, averaged over the samples of all ranks."""
        count = tf.shape(tf.nest.flatten(targets)[0])[0]
        if self._exact:
            sums = self._over_chunks(
                features, targets, count, chunk, lambda x, y: self._second(x, y, vector)
            )
        else:
            values = [tf.identity(variable) for variable in self.head.variables]
            sums = central_difference(
                lambda: self._over_chunks(features, targets, count, chunk, self._gradient),
                self.head.variables, values, vector, step,
            )  # fmt: skip
            for variable, value in zip(self.head.variables, values):
                variable.assign(value)
        return self._mean(sums, count)

    def _solve(self, features, targets, chunk, step, start, iterations, tolerance):
        """Run the power iteration; see `power_loop` for what it returns."""
        return power_loop(
            lambda vector: self.product(features, targets, chunk, step, vector),
            start, iterations, tolerance,
        )  # fmt: skip

    def _over_chunks(self, features, targets, count, chunk, function) -> list[tf.Tensor]:
        """Add up ``function(features, targets)`` over chunks of samples; zeros for no samples."""

        def body(begin, sums):
            rows = slice(begin, tf.minimum(begin + chunk, count))
            parts = function([x[rows] for x in features], [y[rows] for y in targets])
            return begin + chunk, [total + part for total, part in zip(sums, parts)]

        zeros = [tf.zeros(variable.shape, self.head.dtype) for variable in self.head.variables]
        return tf.while_loop(
            lambda begin, _: begin < count, body, (0, zeros), parallel_iterations=1
        )[1]

    def _gradient(self, features, targets) -> list[tf.Tensor]:
        return gradient(lambda: self._total(features, targets), self.head.variables)

    def _second(self, features, targets, vector) -> list[tf.Tensor]:
        return hessian_product(lambda: self._total(features, targets), self.head.variables, vector)

    def _total(self, features, targets) -> tf.Tensor:
        y, weight = with_nones(self._structure, targets)
        losses: list[tf.Tensor] | None = [] if self._regularization else None
        outputs = self.head(features, losses)
        total = tf.cast(self._loss(y, outputs, weight), self.head.dtype)
        return with_penalties(total, losses, outputs)

    def _mean(self, sums: Sequence[tf.Tensor], count: tf.Tensor) -> list[tf.Tensor]:
        """Divide by the number of samples, both added up over the ranks in one all-reduce."""
        mine = [*sums, tf.cast(count, self.head.dtype)]
        *totals, samples = comm.all_reduce_sum(mine, "tflbt.curvature", self._reduction)
        return [total / samples for total in totals]

    def step(self, step: float, features: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return how far differences move the weights; exact products need no step."""
        wanted = tf.constant(step, self.head.dtype)
        if self._exact:
            return wanted
        inputs = [features[index] for index in self.head.input_features()]
        mine = input_squares(inputs, self.head.variables, self.head.dtype)
        total = comm.all_reduce_sum(mine, "tflbt.curvature.scale", self._reduction)
        return step_length(wanted, *total)

    def chunk(self, sub_batch_size: int) -> tf.Tensor:
        """Return the samples the head takes at once: a sub-batch, or more where they are small."""
        return tf.constant(max(sub_batch_size, CHUNK_BYTES // max(self.head.sample_bytes, 1)))
