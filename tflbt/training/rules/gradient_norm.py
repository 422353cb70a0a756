"""The length of an update's gradient, by epoch."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from tflbt import checks
from tflbt.training.rules.gradient_statistics import squared_norm, without_regularization
from tflbt.training.rules.rule import Rule


@checks.arguments
@dataclasses.dataclass(eq=False)
class GradientNorm(Rule):
    r"""Logs `gradient_norm`: the mean over an epoch's updates of the length of the update's mean gradient.

    $$\frac{1}{T} \sum_{t=1}^{T} |g_t|_2$$

    over all trainable variables, as the optimizer gets it, before clipping, momentum and trust ratio, and in its true
    scale. It changes nothing; updates whose gradient is not finite, which a LossScaleOptimizer skips, do not count.

    Args:
        regularization: Whether the gradients of weight regularisers count; default False, as in the paper's code,
            whose weight decay is the optimizer's. What is left out is what depends on weights alone.

    Source: Figures 4 and 6 of `batch-augmentation.txt`, which expect it largest for small batches, smaller with batch
    augmentation and smallest for large batches.

    Example:
        >>> from tflbt import LargeBatchModel
        >>> inputs = tf.keras.Input([1])
        >>> unit = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        >>> model, rule = LargeBatchModel(inputs, unit(inputs)), GradientNorm()
        >>> model.compile("sgd", "mse")
        >>> _ = model.fit(tf.ones([8, 1]), tf.ones([8, 1]), verbose=0, rules=[rule])
        >>> rule.columns(epoch=0)  # the derivative of (w - 1)^2 at w = 0
        {'gradient_norm': 2.0}
    """

    regularization: bool = False

    name: ClassVar[str] = "gradient_norm"
    _sums: Any = dataclasses.field(default=None, init=False, repr=False)

    def start(self, model: Any, spec: Any) -> None:
        """Creates the sums of an epoch."""
        super().start(model, spec)
        if self._sums is None:
            # Of the lengths, and the number of updates.
            self._sums = tf.Variable([0.0, 0.0], trainable=False, name="tflbt_gradient_norm")

    def begin_epoch(self, epoch: int) -> None:
        """Begins the sums."""
        self._sums.assign([0.0, 0.0])

    def observe_update(
        self, gradients: list[tf.Tensor], samples: tf.Tensor, scalars: list[tf.Tensor]
    ) -> None:
        """Adds the update's."""
        if not self.regularization:
            gradients = without_regularization(self.model, gradients, self.model.reduction.factor)
        norm = tf.sqrt(squared_norm(gradients))
        new = tf.where(tf.math.is_finite(norm), tf.stack([norm, 1.0]), tf.zeros([2]))
        self._sums.assign_add(new)

    def columns(self, epoch: int) -> dict[str, Any]:
        """The mean of the epoch."""
        total, updates = (float(value) for value in self._sums.numpy())
        return {"gradient_norm": total / updates if updates else None}
