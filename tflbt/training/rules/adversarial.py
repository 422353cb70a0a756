"""FGSM: makes a share of an update's samples adversarial, at the cost of one input gradient for that share."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.data.user_functions import converted
from tflbt.training.pending_metrics import metric_variables, preserved
from tflbt.training.rules.rule import Rule
from tflbt.training.sub_batches import first_dimension


@checks.arguments
@dataclasses.dataclass(eq=False)
class FGSM(Rule):
    r"""Adversarial training by the fast gradient sign method: give it to `LargeBatchModel.fit(adversarial=...)`.

    A share of the samples of every update is moved one step uphill before the gradient of the weights is taken:

    $$x' = \text{clip}(x + \epsilon \, \text{sign} \nabla_x \ell(x, y; w)), \quad y' = y$$

    where x is in the *original* scale of the data, to which `epsilon` and `valid_range` refer; the model's input is
    (x - mean) / scale. The network runs in inference mode for it, so that the perturbed pass moves no moving
    statistics. Sample i of an update (in the update's global order) is adversarial if floor((i + 1) share) > floor(i
    share): spread evenly, floor(share * batch_size) in all, the same samples whatever the sub-batches and ranks. Only
    they take part in the extra pass. Every floating-point input of the model is perturbed, others are not.

    Read and set the share of a training with `model.adversarial_share`; `tflbt.callbacks.AdaptiveBatchSize` lowers and
    ends it.

    Args:
        share: Gamma, the share of adversarial samples at the start of `fit`, in [0, 1], default 0.2 (the paper's).
        epsilon: Size of the perturbation in the original scale, more than 0, default 0.005 (the paper's, for pixels in
            [0, 1]).
        valid_range: (lowest, highest) value of the original scale, default (0, 1); None: not clipped.
        mean: What was subtracted from the original values, a number or an array that broadcasts to a sample; default 0.
        scale: What they were then divided by, likewise, more than 0; default 1.

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if the model has no floating-point input,
            or the data are sparse or ragged.

    Source: section III-A, equation 4 of `abs-absa.txt`; Goodfellow et al. 2015. The inference mode is that of the
    authors' released code, which perturbs the first samples of each sub-batch.

    Example:
        >>> from tflbt import LargeBatchModel
        >>> inputs = tf.keras.Input([2])
        >>> model = LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
        >>> model.compile("sgd", "mse")
        >>> x = np.float32([[0.0, 0.5], [1.0, 0.5]])
        >>> _ = model.fit(x, x[:, :1], batch_size=2, verbose=0, adversarial=FGSM(share=0.5, epsilon=0.1))
        >>> float(model.adversarial_share)
        0.5
    """

    share: float = 0.2
    epsilon: float = 0.005
    valid_range: tuple[float, float] | None = (0.0, 1.0)
    mean: Any = 0.0
    scale: Any = 1.0

    name: ClassVar[str] = "adversarial"
    _share_now: Any = dataclasses.field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the options."""
        check_share(self.share)
        checks.number("epsilon", self.epsilon, more_than=0, hint="; the paper's is 0.005")
        if self.valid_range is not None and not self.valid_range[0] < self.valid_range[1]:
            raise ValueError(
                f"valid_range={self.valid_range!r} must be (lowest, highest) of the original values, as (0.0, 1.0)."
            )
        checks.array("mean", self.mean)
        checks.array("scale", self.scale, more_than=0)  # what values were divided by

    @classmethod
    def of_images(cls, standardize: Any, share: float = 0.2, epsilon: float = 0.005) -> FGSM:
        """For 8-bit images that a `tflbt.data.Standardize` prepared: `epsilon` counts pixels as 0 to 1.

        Augmentation that moves pixels after a standardisation pixel by pixel (`PadCropFlip`) moves them under their
        neighbours' mean and scale; on natural images these hardly differ, and the perturbation is as much larger or
        smaller.

        Args:
            standardize: What was applied to the images, with `pixel_mean` and `pixel_scale` of values 0 to 1.
            share: As above.
            epsilon: As above.
        """
        return cls(share, epsilon, mean=standardize.pixel_mean, scale=standardize.pixel_scale)

    def check_inputs(self, x: Any) -> None:
        """Raises ValueError if none of the inputs (arrays, tensors or their specs) is floating-point."""
        types = [tf.as_dtype(leaf.dtype).name for leaf in tf.nest.flatten(x)]
        if not any(tf.as_dtype(name).is_floating for name in types):
            raise ValueError(
                f"adversarial={type(self).__name__}(...) moves floating-point inputs, but x is {', '.join(types)}: "
                "convert it to float32 before the model, for images with transform=tflbt.data.fit_standardize(...)."
            )

    @property
    def options(self) -> Any:
        """What must be equal on all ranks."""
        return self.share, self.epsilon

    @property
    def share_now(self) -> float:
        """The share of adversarial samples; may be assigned between updates, without a new trace."""
        return 0.0 if self._share_now is None else float(self._share_now)

    @share_now.setter
    def share_now(self, share: float) -> None:
        self._share_now.assign(share)

    def start(self, model: Any, spec: Any) -> None:
        """Checks the model's inputs and sets the share."""
        super().start(model, spec)
        self.require_dense(spec, "moves samples")
        self.check_inputs(tf.keras.utils.unpack_x_y_sample_weight(spec)[0])
        if self._share_now is None:
            with tf.device("CPU:0"):
                self._share_now = tf.Variable(
                    0.0, trainable=False, dtype=tf.float64, name="tflbt_adversarial_share"
                )
        self.share_now = self.share

    def prepare(self, step: tf.Tensor, data: Any) -> Any:
        """The sub-batch with its share of the update's adversarial samples."""
        reduction = self.model.reduction
        size = tf.cast(self.model.update_state.nominal, tf.int32)
        first = (tf.cast(step, tf.int32) * reduction.size_in_graph + reduction.rank_in_graph) * size
        count = tf.cast(first_dimension(data), tf.int32)
        places = chosen(first, count, self._share_now)
        x, y, sample_weight = tf.keras.utils.unpack_x_y_sample_weight(data)
        leaves = tf.cond(
            tf.size(places) > 0,
            lambda: self._perturbed_at(places, x, y),
            lambda: list(tf.nest.flatten(x)),
        )
        x = tf.nest.pack_sequence_as(x, leaves)
        return tf.keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def _perturbed_at(self, places: tf.Tensor, x: Any, y: Any) -> list[tf.Tensor]:
        """The flat inputs with the samples at `places`, int64 `[k]`, perturbed; metrics do not count these."""
        part, targets = tf.nest.map_structure(lambda leaf: tf.gather(leaf, places), (x, y))
        leaves, metrics = tf.nest.flatten(part), metric_variables(self.model)
        moving = [leaf for leaf in leaves if leaf.dtype.is_floating]
        with preserved(metrics), tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(moving)
            loss = _sum_of_losses(self.model, part, targets)
        slopes = iter(tape.gradient(loss, moving, unconnected_gradients="zero"))
        moved = [self.perturb(v, next(slopes)) if v.dtype.is_floating else v for v in leaves]
        at = places[:, None]
        return [
            tf.tensor_scatter_nd_update(old, at, new) for old, new in zip(tf.nest.flatten(x), moved)
        ]

    def perturb(self, x: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Moves the model's input a step along the sign of its gradient; not where that is 0 or NaN."""
        sign = tf.cast(gradient > 0, x.dtype) - tf.cast(gradient < 0, x.dtype)
        moved = x + tf.cast(self.epsilon / np.asarray(self.scale), x.dtype) * sign
        if self.valid_range is None:
            return moved
        low, high = ((bound - np.asarray(self.mean)) / self.scale for bound in self.valid_range)
        # What augmentation left outside of the range (padding, say) is neither pushed further out nor pulled in.
        low, high = (tf.cast(bound, x.dtype) for bound in (low, high))
        return tf.clip_by_value(moved, tf.minimum(x, low), tf.maximum(x, high))


def check_share(share: float) -> None:
    """Raises ValueError unless a share is in [0, 1]."""
    checks.number("share", share, at_least=0, at_most=1, hint="; the paper's is 0.2")


def chosen(first: tf.Tensor, count: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """The adversarial samples' places in a sub-batch of `count` samples, int64 `[chosen]`.

    `first` is the number of its first sample in the update's global order; the share is a float64 scalar.
    """
    numbers = tf.cast(first + tf.range(count), tf.float64)
    marks = tf.floor((numbers + 1) * share) > tf.floor(numbers * share)
    return tf.where(marks)[:, 0]


def _sum_of_losses(model: tf.keras.Model, x: Any, y: Any) -> tf.Tensor:
    """The loss summed over samples, in inference mode, scaled where 16 bits would lose small gradients.

    Sample weights are left out: they change the length of a sample's gradient, not its sign.
    """
    loss = converted(model.compute_loss)(x, y, model(x, training=False), None)
    loss *= tf.cast(tf.shape(tf.nest.flatten(x)[0])[0], loss.dtype)
    if isinstance(model.optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
        loss = model.optimizer.get_scaled_loss(loss)
    return loss
