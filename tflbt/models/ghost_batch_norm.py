"""Ghost batch normalisation: batch normalisation over groups of a chosen size, whatever the sub-batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tflbt import checks


@checks.arguments
@tf.keras.utils.register_keras_serializable(package="tflbt")
class GhostBatchNormalization(tf.keras.layers.BatchNormalization):
    r"""Batch normalisation that normalises each group of `ghost_size` consecutive samples by itself.

    In training a batch is cut into ghosts $X^{(1)} \dots X^{(k)}$ of `ghost_size` samples. With
    $\mu_i, \sigma_i^2$ the mean and variance of a channel over the samples and positions of ghost i,

    $$y = \gamma \frac{x - \mu_i}{\sqrt{\sigma_i^2 + \epsilon}} + \beta \quad (x \in X^{(i)}),
        \qquad \mu_{run} \leftarrow m\,\mu_{run} + (1 - m)\,\mu_i \quad (i = 1, 2, \dots k).$$

    The running statistics take one step per ghost, in order: a batch of k ghosts leaves what k batches of
    `ghost_size` leave in plain batch normalisation, so neither the weights nor the running statistics depend on
    how many ghosts are computed at a time. Inference is plain batch normalisation by the running statistics.

    In `LargeBatchModel.fit` on several ranks a ghost may be larger than a sub-batch: of `ghost_size` / `sub_batch_size`
    ranks, neighbours, whose sub-batches are normalised together, each sample with the same weight, by small sums
    over these ranks for every layer and sub-batch (see `tflbt.training.ranks.ghost_groups`).

    A last group of fewer samples is one ghost more: normalised by its own statistics, and one full step of the
    running ones, as a last smaller batch is in plain batch normalisation. The same holds for a whole batch of
    fewer samples than `ghost_size`, so give it sub-batches that are multiples of it. A ghost of one sample
    without positions has variance 0: its output is $\beta$, never NaN.

    Weights have the names, shapes and order of `tf.keras.layers.BatchNormalization`, so each loads the other's.
    Statistics are taken in float32 under mixed precision. Like Keras's fused kernel for images (inputs of rank 4
    and 5), but not its other one, the running variance is the unbiased one, $\frac{m}{m-1} \sigma_i^2$
    for m samples times positions.

    Args:
        ghost_size: Samples per ghost, at least 1. Hoffer et al. use 128.
        axis: Of the channels: the last one, which is the default -1.
        momentum: m, share of a running statistic kept per ghost, 0 .. 1; default 0.99.
        epsilon: Added to the variance; default 1e-3.
        **kwargs: As `tf.keras.layers.BatchNormalization` (`center`, `scale`, initialisers, `name`, ...), but for
            `synchronized`, `renorm`, `virtual_batch_size` and `adjustment`, which mean other groups.

    Raises:
        ValueError: If `ghost_size` is no positive integer, or for an argument or axis that does not go with ghosts.

    Example:
        >>> layer = GhostBatchNormalization(2, epsilon=0.0)
        >>> layer(tf.constant([[1.0], [3.0], [50.0], [70.0]]), training=True).numpy().ravel().tolist()
        [-1.0, 1.0, -1.0, 1.0]

    Source: Hoffer, Hubara, Soudry, "Train longer, generalize better" (2017), Algorithm 1. It differs in one point:
    the running variance here averages variances, as every batch normalisation in use does, not deviations.
    """

    def __init__(
        self,
        ghost_size: int,
        axis: int | Sequence[int] = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        checks.whole("ghost_size", ghost_size, at_least=1, hint=": a number of samples")
        checks.number("momentum", momentum, at_least=0, at_most=1)
        checks.number("epsilon", epsilon, at_least=0)
        if isinstance(axis, Sequence) and not axis:
            raise ValueError(f"axis={axis!r} must be the last one, of the channels: use -1.")
        super().__init__(axis=axis, momentum=momentum, epsilon=epsilon, **kwargs)
        _refuse_other_groups(self)
        self.ghost_size = ghost_size

    # Set while a ghost is of several ranks: sums tensors over them, as `tflbt.distributed.comm.all_reduce_sum`.
    sum_over_ranks: Any = None

    @classmethod
    def replace(cls, layer: tf.keras.layers.BatchNormalization, ghost_size: int) -> None:
        """Makes a ghost batch normalisation of a layer that a model has already; its weights stay."""
        if type(layer) not in (tf.keras.layers.BatchNormalization, cls):
            kind = type(layer).__name__
            raise ValueError(f"layer {layer.name!r} is a {kind}, which ghosts cannot replace.")
        checks.whole("ghost_size", ghost_size, at_least=1)
        _refuse_other_groups(layer)
        if layer.built and list(layer.axis) != [layer.input_spec.ndim - 1]:
            raise ValueError(f"layer {layer.name!r} has axis={layer.axis!r}: ghosts need the last.")
        # A subclass without weights of its own: models go on holding this very layer.
        layer.__class__ = cls
        layer.ghost_size = ghost_size

    def build(self, input_shape: Any) -> None:
        """Makes the weights, if `axis` is the last axis of the inputs."""
        axis = self.axis
        super().build(input_shape)
        if list(self.axis) != [len(input_shape) - 1]:
            raise ValueError(f"axis={axis!r} must be the last one, of the channels: use -1.")

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> tf.Tensor:
        """Normalises: in training by ghosts, in inference (or frozen) by the running statistics."""
        if training is None:
            training = tf.keras.backend.learning_phase()
        known = tf.get_static_value(training) if self.trainable else False
        if known is None:
            return tf.cond(
                tf.cast(training, tf.bool),
                lambda: self._train(inputs, mask),
                lambda: self._infer(inputs, mask),
            )
        return self._train(inputs, mask) if known else self._infer(inputs, mask)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {**super().get_config(), "ghost_size": self.ghost_size}

    def _infer(self, inputs: Any, mask: Any) -> tf.Tensor:
        return super().call(inputs, training=False, mask=mask)

    def _train(self, inputs: Any, mask: Any) -> tf.Tensor:
        if mask is not None:
            raise ValueError(
                f"layer {self.name!r} got a mask, which ghosts do not take: use BatchNormalization."
            )
        inputs = tf.convert_to_tensor(inputs)
        shape = tf.shape(inputs)
        # One row of positions per sample: [samples, positions, channels], in the precision of the statistics.
        x = tf.reshape(
            tf.cast(inputs, self.moving_mean.dtype),
            [shape[0], tf.reduce_prod(shape[1:-1]), inputs.shape[-1]],
        )
        if self.sum_over_ranks is None:
            ghosts: Any = _Ghosts(tf.shape(x)[0], tf.shape(x)[1], self.ghost_size, x.dtype)
        else:
            ghosts = _GhostOfRanks(tf.shape(x)[0] * tf.shape(x)[1], self.sum_over_ranks, x.dtype)
        mean = ghosts.mean(x)
        x -= ghosts.for_each_sample(mean)
        variance = ghosts.mean(tf.square(x))
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, ghosts.unbiased(variance) if self.fused else variance)
        scale = tf.math.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            scale *= self.gamma
        x *= ghosts.for_each_sample(scale)
        if self.beta is not None:
            x += self.beta
        outputs = tf.cast(tf.reshape(x, shape), self.compute_dtype)
        outputs.set_shape(inputs.shape)
        return outputs

    def _move(self, variable: tf.Variable, values: tf.Tensor) -> None:
        """Takes one step of the running average for each row of `[ghosts, channels]`, all at once."""
        momentum = tf.cast(self.momentum, values.dtype)
        count = tf.shape(values)[0]
        later = tf.cast(count - 1 - tf.range(count), values.dtype)[:, None]
        added = tf.reduce_sum((1 - momentum) * momentum**later * values, axis=0)
        remaining = momentum ** tf.cast(count, values.dtype)
        variable.assign(remaining * variable + added)


def _refuse_other_groups(layer: tf.keras.layers.BatchNormalization) -> None:
    """Refuses options that choose other groups of samples than ghosts."""
    for name in ("synchronized", "renorm", "virtual_batch_size", "adjustment"):
        value = getattr(layer, name)
        if value:
            raise ValueError(f"{name}={value!r} groups samples in another way: leave it out.")


class _Ghosts:
    """Sums over ghosts, and what goes back from ghosts to their samples; for any number of samples.

    Only sums over positions, `[samples, channels]`, are padded and regrouped, which is little beside the batch
    itself: no sample is copied, whether the ghosts divide the batch or not.
    """

    def __init__(self, samples: tf.Tensor, positions: tf.Tensor, size: int, dtype: tf.DType):
        self._samples = samples
        self._size = size
        self._count = -(-samples // size)
        full = tf.minimum(size, samples - size * tf.range(self._count))
        self._elements = tf.cast(full * positions, dtype)[:, None]

    def mean(self, x: tf.Tensor) -> tf.Tensor:
        """The means `[ghosts, channels]` of `[samples, positions, channels]`."""
        sums = tf.reduce_sum(x, axis=1)
        missing = self._count * self._size - self._samples
        padded = tf.pad(sums, [[0, missing], [0, 0]])
        groups = tf.reshape(padded, [self._count, self._size, x.shape[-1]])
        return tf.reduce_sum(groups, axis=1) / self._elements

    def unbiased(self, variance: tf.Tensor) -> tf.Tensor:
        """The variance over m elements times m / (m - 1); of one element, as it is."""
        return variance * self._elements / tf.maximum(self._elements - 1, 1)

    def for_each_sample(self, values: tf.Tensor) -> tf.Tensor:
        """Each sample's row of `[ghosts, channels]`, as `[samples, 1, channels]`."""
        return tf.repeat(values, self._size, axis=0)[: self._samples, None]


class _GhostOfRanks:
    """As `_Ghosts`, where the samples of several ranks are a single ghost."""

    def __init__(self, elements: tf.Tensor, sum_over_ranks: Any, dtype: tf.DType):
        self._sum = sum_over_ranks
        (self._elements,) = sum_over_ranks([tf.cast(elements, dtype)], "elements")
        self._means = 0

    def mean(self, x: tf.Tensor) -> tf.Tensor:
        """The means `[1, channels]`, over all ranks."""
        self._means += 1
        (sums,) = self._sum([tf.reduce_sum(x, axis=[0, 1])], f"mean_{self._means}")
        return sums[None] / self._elements

    def unbiased(self, variance: tf.Tensor) -> tf.Tensor:
        """As of `_Ghosts`."""
        return variance * self._elements / tf.maximum(self._elements - 1, 1)

    def for_each_sample(self, values: tf.Tensor) -> tf.Tensor:
        """The row of the ghost, as `[1, 1, channels]`."""
        return values[:, None]
