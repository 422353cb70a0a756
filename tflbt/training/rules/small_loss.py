"""Small-loss discarding: the samples of an update with the smallest losses are left out of its gradient."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tflbt.training.preserved import preserved

SCOPES = ("sub_batch", "update")
_ROUNDING = 1e-9  # so that 29% of 100 samples are 29 where the product is 28.999999999999996


@dataclasses.dataclass(frozen=True)
class SmallLossDiscarding:
    r"""Leaves the samples with the smallest losses out of updates: give it to `LargeBatchModel.fit(small_loss=...)`.

    Of the n samples that are compared, with losses l_i (times their sample weights), the floor(p n) smallest are
    discarded, of equal ones the first; the gradient is the mean over the K samples that are kept in the whole update:

    $$g = \frac{1}{K} \sum_{i \in \text{kept}} \nabla \ell_i(w)$$

    Regularisation losses count once, as ever. The losses are those of the training pass, with dropout and the batch's
    own normalisation statistics, in which discarded samples take part. The loss and metrics that `fit` shows are of all
    samples, so that they can be compared with those of other trainings. A loss that is NaN is never discarded.

    Args:
        share: p, the share of samples to discard, at least 0 and less than 1, default 0.3 (the paper's). 0: none, and
            the training is bit for bit the one without.
        epochs: For how many epochs from the first one; default 100 (the paper's); None: for all.
        scope: What is compared. "sub_batch" (default): the samples of each sub-batch for themselves, at no cost beside
            a sort; "update": all samples of the update, over sub-batches and ranks, exactly, whatever these are. That
            takes one more forward pass (of the three that an update costs), and keeps this rank's inputs of the update
            in the host's memory. Dropout has the same masks in both passes if Keras draws from generators
            (`tf.keras.backend.experimental.enable_tf_random_generator()`, which `tflbt.train` switches on).

    Raises:
        ValueError: If an argument is out of its range; at the first update, if the model's `compute_loss` does not use
            its `sample_weight`.

    Source: section 3.1 of `curvature-radius.txt`, which discards within one batch; with one sub-batch on one rank both
    scopes do.

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
    epochs: int | None = 100
    scope: str = "sub_batch"

    def __post_init__(self) -> None:
        """Checks the arguments."""
        if not 0 <= self.share < 1:
            raise ValueError(
                f"share={self.share!r} must be at least 0 and less than 1: of 1 no sample would be left."
            )
        epochs = self.epochs
        if epochs is not None and (
            isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0
        ):
            raise ValueError(f"epochs={epochs!r} must be a number of epochs, or None for all.")
        if self.scope not in SCOPES:
            raise ValueError(f"scope={self.scope!r} must be one of {', '.join(SCOPES)}.")

    def share_in(self, epoch: int) -> float:
        """The share that is discarded in an epoch, counted from 0."""
        return self.share if self.epochs is None or epoch < self.epochs else 0.0


def kept(losses: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Which samples are kept of those whose losses are compared.

    Args:
        losses: `[n]`; NaN counts as the largest there is.
        share: Of them to discard, a float64 scalar.

    Returns:
        bool `[n]`, False for the floor(share n) smallest, of equal ones the first.

    Example:
        >>> kept(tf.constant([3.0, 1.0, 2.0, 1.0]), tf.constant(0.5, tf.float64)).numpy().tolist()
        [True, False, True, False]
    """
    losses = tf.where(tf.math.is_nan(losses), tf.fill(tf.shape(losses), losses.dtype.max), losses)
    discarded = tf.floor(share * tf.cast(tf.size(losses), tf.float64) + _ROUNDING)
    order = tf.argsort(losses, stable=True)
    ranks = tf.scatter_nd(order[:, None], tf.range(tf.size(losses)), tf.shape(losses))
    return ranks >= tf.cast(discarded, tf.int32)


def sample_losses(
    model: tf.keras.Model, x: Any, y: Any, y_pred: Any, sample_weight: Any
) -> tf.Tensor:
    """The loss of each sample, as the model's own `compute_loss` has it; updates the metric of the loss.

    The loss of n samples is `sum(v_i l_i) / n` plus what does not depend on v, for weights v of the samples, and its
    derivative by v_i is l_i / n: so any loss, of any number of outputs, tells its samples apart.

    Raises:
        ValueError: If the loss does not depend on the sample weights.
    """
    ones = tf.ones(tf.shape(tf.nest.flatten(y_pred)[0])[:1])
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(ones)
        loss = model.compute_loss(x, y, y_pred, _weighted(sample_weight, ones))
    slopes = tape.gradient(loss, ones)
    if slopes is None:
        raise ValueError(
            f"small_loss=SmallLossDiscarding(...) needs the losses of single samples, but the compute_loss of "
            f"{type(model).__name__} does not use its sample_weight."
        )
    return slopes * tf.cast(tf.size(ones), slopes.dtype)


def loss_of(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    y_pred: Any,
    sample_weight: Any,
    chosen: tf.Tensor,
    preserve: list[tf.Variable],
) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean loss of the chosen samples, and their number; `preserve` is what must not count them again."""
    number = tf.math.count_nonzero(chosen, dtype=tf.float32)
    weight = tf.math.divide_no_nan(tf.cast(tf.size(chosen), tf.float32), number)
    with preserved(preserve):
        weights = tf.where(chosen, weight, 0.0)
        return model.compute_loss(x, y, y_pred, _weighted(sample_weight, weights)), number


def _weighted(sample_weight: Any, weights: tf.Tensor) -> Any:
    """Sample weights, of which there may be none or one a position, times weights of whole samples."""
    if sample_weight is None:
        return weights

    def times(one: tf.Tensor) -> tf.Tensor:
        shape = [-1, *[1] * (one.shape.rank - 1)]
        return one * tf.cast(tf.reshape(weights, shape), one.dtype)

    return tf.nest.map_structure(times, sample_weight)
