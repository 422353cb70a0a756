"""How much several instances of each sample shorten the gradient, and a step that makes up for it."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from tflbt import checks
from tflbt.control.batch_plan import BatchPlan
from tflbt.data.batch_augmentation import BatchAugmentation
from tflbt.training.rules.gradient_statistics import squared_norm, without_regularization
from tflbt.training.rules.rule import Rule


@checks.arguments
@dataclasses.dataclass(eq=False)
class AugmentationScale(Rule):
    r"""Measures how much longer the gradients of single instances are than their mean, and can scale the update by it.

    With M instances of each of an update's samples, g_j the mean gradient over the samples' instance j, and g the mean
    of these,

    $$c = \frac{\frac1M \sum_{j=1}^M |g_j|_2}{|g|_2}, \qquad 1 \le c \le \sqrt M$$

    where the upper end is that of uncorrelated instances. It logs `augmentation_scale`, the mean of c over the epoch,
    and with `apply` the optimizer gets c g in place of g, in every update. Gradients of weight regularisers are neither
    in c nor scaled.

    Each sub-batch must be one instance of all samples of an update, so that its gradient is one g_j: give `fit` a
    `BatchAugmentation(M, placement="rank")` on one rank, or "ranks", and a `sub_batch_size` of batch_size / M. An
    update that a callback makes larger within an epoch is neither measured nor scaled.

    Args:
        apply: Whether the update is scaled; default False, as in the paper's tables.

    Raises:
        ValueError: If `apply` is no bool; when `fit` begins, if sub-batches are not the instances.

    Source: section 4.2 of `batch-augmentation.txt` and its Figure 4; `adapt_grad_norm` of the authors' code, which
    computes c in M + 1 passes.

    Example:
        >>> from tflbt import BatchAugmentation, LargeBatchModel
        >>> inputs = tf.keras.Input([1])
        >>> model = LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
        >>> model.compile("sgd", "mse")
        >>> rule, equal = AugmentationScale(), BatchAugmentation(2, "rank")
        >>> x = tf.ones([4, 1])
        >>> options = {"batch_size": 8, "sub_batch_size": 4, "batch_augmentation": equal}
        >>> _ = model.fit(x, x, **options, verbose=0, rules=[rule])
        >>> round(rule.columns(epoch=0)["augmentation_scale"], 5)  # no transform: the instances are equal
        1.0
    """

    apply: bool = False

    name: ClassVar[str] = "augmentation_scale"
    _lengths: Any = dataclasses.field(default=None, init=False, repr=False)
    _scale: Any = dataclasses.field(default=None, init=False, repr=False)
    _sums: Any = dataclasses.field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the option."""
        checks.one_of("apply", self.apply, (False, True))

    def start(self, model: Any, spec: Any) -> None:
        """Creates the sums of an update and of an epoch."""
        super().start(model, spec)
        if self._sums is None:
            # Of this rank's |g_j|, and their number.
            self._lengths = tf.Variable([0.0, 0.0], trainable=False, name="tflbt_instances")
            self._scale = tf.Variable(1.0, trainable=False, name="tflbt_augmentation_scale")
            # Of c, and the number of updates.
            self._sums = tf.Variable([0.0, 0.0], trainable=False, name="tflbt_augmentation_sums")
        self._lengths.assign([0.0, 0.0])

    def begin_epoch(self, epoch: int) -> None:
        """Refuses batches whose sub-batches are no instances; begins the sums."""
        check_instances(self.model.batch_augmentation, self.model.batch_plan)
        self._sums.assign([0.0, 0.0])

    def observe(self, gradients: list[tf.Tensor], samples: tf.Tensor) -> None:
        """Adds |g_j|."""
        norm = tf.sqrt(squared_norm(without_regularization(self.model, gradients)))
        self._lengths.assign_add(tf.stack([norm, 1.0]))

    def scalars(self) -> list[tf.Tensor]:
        """The sum of this rank's |g_j|, and their number."""
        return [tf.convert_to_tensor(self._lengths)]

    def observe_update(
        self, gradients: list[tf.Tensor], samples: tf.Tensor, scalars: list[tf.Tensor]
    ) -> None:
        """Computes c, 1 where there is none."""
        total, count = tf.unstack(scalars[0])
        norm = tf.sqrt(squared_norm(self._of_data(gradients)))
        norm /= self.model.reduction.factor
        scale = total / count / norm
        usable = tf.math.is_finite(scale) & (count == self.model.batch_augmentation.instances)
        self._scale.assign(tf.where(usable, scale, 1.0))
        self._sums.assign_add(tf.where(usable, tf.stack([scale, 1.0]), [0.0, 0.0]))
        self._lengths.assign([0.0, 0.0])

    def change_gradients(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients, scaled if they are to be."""
        if not self.apply:
            return gradients
        more = tf.convert_to_tensor(self._scale) - 1.0
        of_data = self._of_data(gradients)
        return [g + tf.cast(more, g.dtype) * part for g, part in zip(gradients, of_data)]

    def columns(self, epoch: int) -> dict[str, Any]:
        """The mean of the epoch."""
        total, updates = (float(value) for value in self._sums.numpy())
        return {"augmentation_scale": total / updates if updates else None}

    def _of_data(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        return without_regularization(self.model, gradients, self.model.reduction.factor)


def check_instances(augmentation: BatchAugmentation, plan: BatchPlan) -> None:
    """Raises ValueError unless each sub-batch of a full update is one instance of all of its samples."""
    count, size = augmentation.instances, plan.samples_a_rank_computes
    alone = augmentation.placement == "ranks" or (
        augmentation.placement == "rank" and plan.ranks == 1
    )
    if count == 1 or not alone or plan.batch_size != count * size:
        raise ValueError(
            f"augmentation_scale compares instances, each in a sub-batch of its own, but instances={count} with "
            f"placement={augmentation.placement!r} on {plan.ranks} ranks, batch_size={plan.batch_size} and "
            f"sub_batch_size={size} are others: use placement='ranks' ('rank' will do on a single rank) and "
            "a sub_batch_size of batch_size / instances, with at least 2 instances."
        )
