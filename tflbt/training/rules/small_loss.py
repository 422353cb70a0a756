"""Small-loss discarding: the samples of an update with the smallest losses are left out of its gradient."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from tflbt import checks
from tflbt.training.rules.rule import Rule

SCOPES = ("sub_batch", "update")
_ROUNDING = 1e-9  # so that 29% of 100 samples are 29: the product is 28.999999999999996


@checks.arguments
@dataclasses.dataclass(eq=False)
class SmallLossDiscarding(Rule):
    r"""Leaves the samples with the smallest losses out of updates: give it to `LargeBatchModel.fit(small_loss=...)`.

    Of the n samples that are compared, with losses l_i (times their sample weights), the floor(p n) smallest are
    discarded, of equal losses the first; the gradient is the mean over the K samples that remain in the whole update:

    $$g = \frac{1}{K} \sum_{i \text{ remains}} \nabla \ell_i(w)$$

    Regularisation losses count once, as ever. The losses are those of the training pass, with dropout and the batch's
    own normalisation statistics, in which discarded samples take part. The loss and metrics that `fit` shows are of all
    samples, so that they can be compared with those of other trainings. A loss that is NaN is never discarded.

    Args:
        share: p, the share of samples to discard, at least 0 and less than 1, default 0.3 (the paper's). 0: none, and
            the training is bit for bit the same as without this rule.
        epochs: For how many epochs from the first one; default 100 (the paper's); None: for all.
        scope: What is compared. "sub_batch" (default): the samples of each sub-batch for themselves, at no cost beside
            a sort; "update": all samples of the update, over sub-batches and ranks, exactly, whatever these are. That
            takes one more forward pass (an update costs about three), and stores this rank's inputs of the update
            in the host's memory. Dropout has the same masks in both passes if Keras draws from generators
            (`tf.keras.backend.experimental.enable_tf_random_generator()`, which `tflbt.train` switches on).

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if data are sparse or ragged and the
            scope is "update"; at the first update, if the model's `compute_loss` does not use its `sample_weight`.

    Source: section 3.1 of `curvature-radius.txt`, which discards within one batch, as both scopes do with one sub-batch
    on one rank.

    Example:
        >>> from tflbt import LargeBatchModel
        >>> inputs = tf.keras.Input([1])
        >>> outputs = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(inputs)
        >>> model = LargeBatchModel(inputs, outputs)
        >>> model.compile(tf.keras.optimizers.SGD(0.25), "mse")
        >>> x, y = tf.ones([4, 1]), tf.constant([[1.0], [2.0], [3.0], [5.0]])
        >>> _ = model.fit(x, y, batch_size=4, verbose=0, small_loss=SmallLossDiscarding(share=0.5))
        >>> float(model.weights[0])  # half the mean of 3 and 5
        2.0
    """

    share: float = 0.3
    epochs: Any = 100  # a whole number or None, as checked below
    scope: str = "sub_batch"

    name: ClassVar[str] = "small_loss"
    _share_now: Any = dataclasses.field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the options."""
        hint = ": of 1 no sample would be left"
        checks.number("share", self.share, at_least=0, less_than=1, hint=hint)
        if self.epochs is not None:
            checks.whole("epochs", self.epochs, at_least=0, hint="; None: all epochs")
        checks.one_of("scope", self.scope, SCOPES)

    @property
    def idle(self) -> bool:
        """True if no sample is discarded."""
        return not self.share

    def share_in(self, epoch: int) -> float:
        """The share that is discarded in an epoch, counted from 0."""
        return self.share if self.epochs is None or epoch < self.epochs else 0.0

    def start(self, model: Any, spec: Any) -> None:
        """Creates the variable with the share of the epoch."""
        super().start(model, spec)
        if self._share_now is None:
            with tf.device("CPU:0"):
                self._share_now = tf.Variable(
                    0.0, trainable=False, dtype=tf.float64, name="tflbt_discarded_share"
                )

    def begin_epoch(self, epoch: int) -> None:
        """Sets the share of the epoch."""
        self._share_now.assign(self.share_in(epoch))

    def choosing(self) -> tf.Tensor:
        """True while samples are discarded."""
        return self._share_now > 0

    def choose(self, losses: tf.Tensor) -> tf.Tensor:
        """All but the smallest."""
        return larger(losses, tf.convert_to_tensor(self._share_now))

    def columns(self, epoch: int) -> dict[str, Any]:
        """The share that was discarded."""
        return {"discarded_share": self.share_in(epoch)}


def larger(losses: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Which samples remain by their losses, bool `[n]`: all but the floor(share n) smallest, of equal losses the first.

    The share is a float64 scalar. A loss of NaN counts as the largest there is.
    """
    losses = tf.where(tf.math.is_nan(losses), tf.fill(tf.shape(losses), losses.dtype.max), losses)
    discarded = tf.floor(share * tf.cast(tf.size(losses), tf.float64) + _ROUNDING)
    order = tf.argsort(losses, stable=True)
    ranks = tf.scatter_nd(order[:, None], tf.range(tf.size(losses)), tf.shape(losses))
    return ranks >= tf.cast(discarded, tf.int32)
