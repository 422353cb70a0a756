"""`SignalToNoise`: how much of a mini-batch's gradient is the true gradient, measured at the ends of epochs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.callbacks.curvature_probe import check_data, load_data
from tflbt.curvature.samples import DEFAULT_SUB_BATCH_SIZE, MeasuredSamples
from tflbt.data.user_functions import converted
from tflbt.distributed import comm
from tflbt.training.keras_internals import random_generators, regularization_losses
from tflbt.training.pending_metrics import metric_variables, preserved

COLUMNS = ("signal_to_noise", "signal_length", "noise_length")


@checks.arguments
class SignalToNoise(tf.keras.callbacks.Callback):
    r"""Logs the signal-to-noise ratio of mini-batch gradients, exactly, at the ends of epochs; it changes nothing.

    With the gradient G of all samples of the data and u = G / |G|, the gradient g of a mini-batch has the signal
    (g . u) u, and the rest is noise:

    $$\text{SNR} = \frac{\mathbb{E} |g \cdot u|}{\mathbb{E} |g - (g \cdot u) u|}$$

    where the means are over `batches` mini-batches of `batch_size` samples. It logs the ratio as `signal_to_noise`,
    and the means of both as `signal_length` and `noise_length`; `RunLog` also gets `seconds_signal_to_noise`.
    The ratio grows with the square root of the batch size; that of all samples at once is infinite.

    G takes one pass over the data, and the mini-batches, which are the data's first, a second one: that is one and
    more epochs of gradients. `tflbt.training.NoiseScale` estimates the ratio from the sub-batches of every update for
    almost nothing. The network runs in training mode, by sub-batches, and its moving statistics, metrics and random
    generators are put back; weight regularisers are left out, as they are no noise. Every rank must run it; the ranks
    share the mini-batches out, and every rank gets the same values, which without random layers are those of one
    process.

    Args:
        gradient_data: (x, y[, sample_weight]), the same arrays on every rank, or a function without arguments that
            returns them, called at the start of `fit`. They are taken as they are: recipes give them without
            augmentation. The whole training set is exact; of fewer samples take many times `batch_size`, and shuffle
            what is sorted by class.
        batch_size: B, samples per mini-batch over all ranks, at least 1; use the training's.
        batches: The number of mini-batches, at least 1, default 8.
        every: Epochs between measurements, at least 1, default 1.
        sub_batch_size: Samples in memory at a time, at least 1; default None: the model's sub-batch size.

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if the data have fewer than `batches` x
            `batch_size` samples.

    Source: appendix 6.1 of `limit-of-the-batch-size.txt`, which calls lengths power. Its "signal Theta(B), noise
    Theta(sqrt B)" are of sums; of means they are constant and 1 / sqrt B.

    Example:
        >>> x, y = np.ones([4, 1], "float32"), np.array([[1.0], [1.0], [2.0], [2.0]], "float32")
        >>> unit = tf.keras.layers.Dense(2, use_bias=False, kernel_initializer="zeros", input_shape=(1,))
        >>> model = tf.keras.Sequential([unit])
        >>> model.compile(tf.keras.optimizers.SGD(0.0), "mse")  # the gradient of y is -y
        >>> targets = np.array([[3.0, 1.0], [3.0, -1.0]], "float32")
        >>> monitor = SignalToNoise((np.ones([2, 1], "float32"), targets), batch_size=1, batches=2)
        >>> history = model.fit(x[:2], targets, epochs=1, verbose=0, callbacks=[monitor]).history
        >>> [round(history[name][0], 3) for name in ("signal_to_noise", "signal_length", "noise_length")]
        [3.0, 3.0, 1.0]
    """

    def __init__(
        self,
        gradient_data: Any,
        batch_size: int,
        batches: int = 8,
        every: int = 1,
        *,
        sub_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        checks.whole("batch_size", batch_size, at_least=1)
        checks.whole("batches", batches, at_least=1)
        checks.whole("every", every, at_least=1)
        if sub_batch_size is not None:
            checks.whole("sub_batch_size", sub_batch_size, at_least=1)
        name = "gradient_data"
        self.source = (
            gradient_data if callable(gradient_data) else check_data(gradient_data, name=name)
        )
        self.batch_size = batch_size
        self.batches = batches
        self.every = every
        self.sub_batch_size = sub_batch_size
        self._data: tuple[Any, ...] = ()
        self._gradient: SummedGradient | None = None
        self._columns: dict[str, float] = {}
        self._seconds = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Gets the data, and refuses too few."""
        self._data = load_data(self.source, "gradient_data")
        self._gradient = None
        count, wanted = MeasuredSamples.of(*self._data).count, self.batches * self.batch_size
        if count < wanted:
            raise ValueError(
                f"batches={self.batches} of batch_size={self.batch_size} need {wanted} samples, and gradient_data have "
                f"{count}: give more data, or fewer or smaller mini-batches."
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures, if it is due."""
        self._columns, self._seconds = {}, 0.0
        if (epoch + 1) % self.every:
            return
        begin = time.perf_counter()
        if self._gradient is None:
            plan = getattr(self.model, "batch_plan", None)
            size = DEFAULT_SUB_BATCH_SIZE if plan is None else plan.samples_a_rank_computes
            self._gradient = SummedGradient(self.model, self.sub_batch_size or size)
        reduction = comm.reduction_of(self.model).uncompressed
        signal, noise = self._gradient.signal_and_noise(
            self._data, self.batch_size, self.batches, reduction
        )
        ratio = signal / noise if noise else np.inf
        self._columns = dict(zip(COLUMNS, (float(ratio), float(signal), float(noise))))
        self._seconds = time.perf_counter() - begin
        if logs is not None:
            logs.update(self._columns)

    def epoch_columns(self) -> dict[str, Any]:
        """What this callback adds to an epoch's row."""
        empty = dict.fromkeys(COLUMNS)
        return {**empty, **self._columns, "seconds_signal_to_noise": self._seconds}


class SummedGradient:
    """The gradient of the loss summed over samples, in training mode, by sub-batches, without weight regularisers.

    Keras's mean over the samples of a sub-batch counts as often as these are.
    """

    def __init__(self, model: tf.keras.Model, sub_batch_size: int) -> None:
        self.model, self.sub_batch_size = model, sub_batch_size
        self._add = tf.function(self._with_part, reduce_retracing=True)

    def __call__(self, total: list[tf.Tensor], data: Any) -> list[tf.Tensor]:
        """The total with the gradient of these samples added."""
        x, y, weight = [*data, None][:3]
        samples = MeasuredSamples.of(x, y, weight, self.sub_batch_size)
        for part in samples.sub_batches():
            total = self._add(total, *part)
        return total

    def signal_and_noise(
        self, data: Any, batch_size: int, batches: int, reduction: comm.Reduction
    ) -> tuple[float, float]:
        """The mean lengths of signal and noise over the data's first mini-batches; every rank must call it alike."""
        count = MeasuredSamples.of(*data).count
        mine = range(reduction.rank, -(-count // batch_size), reduction.size)
        zeros = [tf.zeros(v.shape, tf.float32) for v in self.model.trainable_variables]

        def batch(k: int) -> Any:
            part = slice(k * batch_size, (k + 1) * batch_size)
            return tf.nest.map_structure(lambda array: array[part], data)

        def of_all() -> list[tf.Tensor]:
            total = zeros
            for k in mine:
                total = self(total, batch(k))
            return total

        with preserved(self._temporary()):
            true = comm.all_reduce_sum(of_all(), "tflbt.true_gradient", reduction)
        sums = tf.zeros([2])
        with preserved(self._temporary()):
            for k in (k for k in mine if k < batches):
                sums += tf.stack(parts_of(self(zeros, batch(k)), true))
        (sums,) = comm.all_reduce_sum([sums], "tflbt.signal_and_noise", reduction)
        signal, noise = sums.numpy() / (batches * batch_size)
        return signal, 0.0 if batch_size == count else noise

    def _temporary(self) -> list[tf.Variable]:
        """What a pass in training mode changes, and must not."""
        generators = (generator.state for generator in random_generators(self.model))
        return [*self.model.non_trainable_variables, *metric_variables(self.model), *generators]

    def _with_part(self, total: list[tf.Tensor], x: Any, y: Any, weight: Any) -> list[tf.Tensor]:
        """The total with the gradient of a sub-batch."""
        model, optimizer = self.model, self.model.optimizer
        scaling = isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)
        with tf.GradientTape() as tape:
            loss = converted(model.compute_loss)(x, y, model(x, training=True), weight)
            for term in regularization_losses(model):
                loss -= tf.cast(term, loss.dtype)
            loss = optimizer.get_scaled_loss(loss) if scaling else loss
        gradients = tape.gradient(
            loss, model.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        gradients = optimizer.get_unscaled_gradients(gradients) if scaling else gradients
        samples = tf.cast(tf.shape(tf.nest.flatten(x)[0])[0], tf.float32)
        return [
            old + samples * tf.cast(tf.convert_to_tensor(gradient), tf.float32)
            for old, gradient in zip(total, gradients)
        ]


@tf.function(reduce_retracing=True)
def parts_of(gradient: list[tf.Tensor], true: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """The lengths of a gradient's parts along and across another, float32 scalars; all across, if that is 0.

    Example:
        >>> along, across = parts_of([tf.constant([3.0, 4.0])], [tf.constant([2.0, 0.0])])
        >>> float(along), float(across)
        (3.0, 4.0)
    """
    square = tf.add_n([tf.reduce_sum(t * t) for t in true])
    dot = tf.add_n([tf.reduce_sum(g * t) for g, t in zip(gradient, true)])
    share = tf.math.divide_no_nan(dot, square)
    across = tf.linalg.global_norm([g - share * t for g, t in zip(gradient, true)])
    return tf.abs(share) * tf.sqrt(square), across
