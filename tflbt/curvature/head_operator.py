"""Power iteration on the output layer alone: the network runs once, the head at every product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tflbt.curvature.finite_difference import central_difference, input_squares, step_length
from tflbt.curvature.head import Head
from tflbt.curvature.hessian import gradient, hessian_product
from tflbt.curvature.power_iteration import power_loop
from tflbt.curvature.samples import with_nones, without_nones
from tflbt.curvature.total_loss import TotalLoss
from tflbt.distributed import comm

#: Features that the head takes at once, unless a sub-batch has more. Small layers see the whole
#: batch in a few calls, large convolutional heads stay within bounded memory.
CHUNK_BYTES = 32 * 2**20


class HeadOperator:
    """Products of the output layer's Hessian with vectors, and the loop around them, as one graph.

    Args:
        head: The copied head.
        total_loss: The loss as a sum over samples.
        method: "finite_difference" or "exact".
        specs: Shapes and types of ``(y, sample_weight)``.
        reduction: Which ranks add up.

    Raises:
        TypeError: Layers or loss refuse the head's type.
        ValueError: Shapes of targets and outputs do not fit.
    """

    def __init__(
        self,
        head: Head,
        total_loss: TotalLoss,
        method: str,
        specs: tuple[Any, Any],
        reduction: comm.Reduction,
    ):
        """Trace the iteration, so that types or shapes that do not fit are told here."""
        self.head = head
        self._loss = total_loss
        self._exact = method == "exact"
        self._reduction = reduction
        self._structure = specs
        scalars = [
            tf.TensorSpec([], dtype) for dtype in (tf.int32, tf.int32, head.dtype, head.dtype)
        ]
        self.solve = tf.function(
            self._solve,
            input_signature=[
                head.feature_specs(),
                without_nones(specs),
                [tf.TensorSpec(variable.shape, head.dtype) for variable in head.variables],
                *scalars,
            ],
        )
        self.solve.get_concrete_function()

    def _solve(self, features, targets, start, chunk, iterations, tolerance, step):
        """Run the power iteration; see `power_loop` for what it returns."""
        values = [tf.identity(variable) for variable in self.head.variables]
        count = tf.shape(tf.nest.flatten(targets)[0])[0]
        if not self._exact:
            step = self._step_length(step, features)

        def matvec(vector):
            def product():
                def slopes():
                    return self._over_chunks(features, targets, count, chunk, self._gradient)

                if not self._exact:
                    return central_difference(slopes, self.head.variables, values, vector, step)
                return self._over_chunks(
                    features, targets, count, chunk, lambda x, y: self._product(x, y, vector)
                )

            return self._mean(product(), count)

        return power_loop(matvec, start, iterations, tolerance)

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

    def _product(self, features, targets, vector) -> list[tf.Tensor]:
        return hessian_product(lambda: self._total(features, targets), self.head.variables, vector)

    def _total(self, features, targets) -> tf.Tensor:
        y, weight = with_nones(self._structure, targets)
        return tf.cast(self._loss(y, self.head(features), weight), self.head.dtype)

    def _mean(self, sums: Sequence[tf.Tensor], count: tf.Tensor) -> list[tf.Tensor]:
        """Divide by the number of samples, both added up over the ranks in one all-reduce."""
        mine = [*sums, tf.cast(count, self.head.dtype)]
        *totals, samples = comm.all_reduce_sum(mine, "tflbt.curvature", self._reduction)
        return [total / samples for total in totals]

    def _step_length(self, step: tf.Tensor, features: Sequence[tf.Tensor]) -> tf.Tensor:
        inputs = [features[index] for index in self.head.input_features()]
        mine = input_squares(inputs, self.head.variables, self.head.dtype)
        total = comm.all_reduce_sum(mine, "tflbt.curvature.scale", self._reduction)
        return step_length(step, *total)

    def chunk(self, sub_batch_size: int, features: Sequence[tf.Tensor]) -> int:
        """Return the samples the head takes at once: a sub-batch, or more where they are small."""
        row = sum(x.dtype.size * math.prod(int(d) for d in x.shape[1:]) for x in features)
        return max(sub_batch_size, CHUNK_BYTES // max(row, 1))
