"""The gradient noise scale from the sub-batches of every update, and what of it follows without further passes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import tensorflow as tf
from absl import logging

from tflbt import checks
from tflbt.data.batch_augmentation import BatchAugmentation
from tflbt.training.keras_internals import plain_optimizer, rate_of_next_step
from tflbt.training.rules.gradient_statistics import squared_norm, without_regularization
from tflbt.training.rules.rule import Rule


@checks.arguments
@dataclasses.dataclass(eq=False)
class NoiseScale(Rule):
    r"""Measures the gradient noise scale: the batch size up to which larger batches make better steps.

    An update has k sub-batches over all ranks, of b_i samples with mean gradients g_i, and B samples in all with the
    mean gradient g. Then

    $$S = \sum_i b_i |g_i|^2, \quad \mathrm{tr} = \frac{S - B |g|^2}{k - 1}, \quad G^2 = |g|^2 - \frac{\mathrm{tr}}{B},
    \quad B_{\text{simple}} = \frac{\langle \mathrm{tr} \rangle}{\langle G^2 \rangle}$$

    where tr estimates the trace of the covariance of the samples' gradients and G^2 the square of the true gradient's
    length, both without bias for sub-batches of any sizes. Angle brackets are exponential averages over updates, of
    numerator and denominator apart. It changes nothing, and costs a norm of each sub-batch's gradients and two numbers
    in the update's one all-reduce. It logs by epoch:

    - `noise_scale`: B_simple; NaN while the average of G^2 is not above 0;
    - `gradient_variance` and `gradient_square`: the averages of tr and of G^2, which may be negative;
    - `signal_to_noise_estimate`: $\sqrt{B \langle G^2 \rangle / \langle \mathrm{tr} \rangle}$ for the batches as they
      are, the ratio of true gradient and noise in an update; NaN likewise. `tflbt.callbacks.SignalToNoise` measures it
      exactly;
    - `noise_scale_predicted`: $\mu N / (m (1 - \kappa))$ with N training samples, m a batch, and the rate mu and
      momentum kappa of the optimizer, if that has one. It is Smith and Le's noise of SGD's motion: another quantity,
      in the unit of the rate. What makes LARS and the like adapt the rate by layer is not in it.

    The gradient is that of the training pass (dropout, batch normalisation over the sub-batch) before clipping and
    trust ratio, in its true scale and without weight regularisers. Samples that a rule discards do not count; of batch
    augmentation with all instances in one sub-batch the distinct samples count. An update of one sub-batch has no
    estimate and is passed over.

    Args:
        decay: Of the exponential averages, per update, at least 0 and less than 1; default 0.99. Their start is
            corrected for.

    Raises:
        ValueError: If `decay` is out of its range; at the start of `fit`, if batch augmentation spreads a sample's
            instances over several sub-batches, whose gradients are then not independent.

    Source: McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", section 2.2 and appendix A.1, for
    any number of sub-batches; equation 2 of `two-phase.txt` for the predicted scale; appendix 6.1 of
    `limit-of-the-batch-size.txt` for signal and noise.

    Example:
        >>> from tflbt import LargeBatchModel
        >>> inputs = tf.keras.Input([1])
        >>> unit = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        >>> model, rule = LargeBatchModel(inputs, unit(inputs)), NoiseScale()
        >>> model.compile(tf.keras.optimizers.SGD(0.0), "mse")
        >>> x, y = tf.ones([4, 1]), tf.constant([[1.0], [1.0], [2.0], [2.0]])  # gradients -2, -2, -4, -4
        >>> _ = model.fit(x, y, batch_size=4, sub_batch_size=1, verbose=0, rules=[rule])
        >>> columns = rule.columns(epoch=0)
        >>> round(columns["gradient_variance"], 4), round(columns["gradient_square"], 4)  # 4 / 3, 9 - tr / 4
        (1.3333, 8.6667)
    """

    decay: float = 0.99

    name: ClassVar[str] = "noise_scale"
    _parts: Any = dataclasses.field(default=None, init=False, repr=False)
    _averages: Any = dataclasses.field(default=None, init=False, repr=False)
    _last: Any = dataclasses.field(default=None, init=False, repr=False)
    _noticed: bool = dataclasses.field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the options."""
        checks.number("decay", self.decay, at_least=0, less_than=1)

    def start(self, model: Any, spec: Any) -> None:
        """Refuses sub-batches that share samples; begins new averages, but for a model that it goes on with."""
        check_apart(model.batch_augmentation)
        if self._averages is None:
            self._parts = tf.Variable([0.0, 0.0], trainable=False, name="tflbt_noise_parts")
            self._averages = tf.Variable([0.0] * 4, trainable=False, name="tflbt_noise_averages")
            # The rate of the last update, and the samples of the epoch's largest.
            self._last = tf.Variable([math.nan, 0.0], trainable=False, name="tflbt_noise_last")
        elif self.model is not model:
            self._averages.assign([0.0] * 4)
        super().start(model, spec)
        self._parts.assign([0.0, 0.0])

    def begin_epoch(self, epoch: int) -> None:
        """Begins to look for the largest update; notes once that one of a single sub-batch has no noise scale."""
        self._last.assign([math.nan, 0.0])
        plan = self.model.batch_plan
        single = plan is not None and plan.ranks * plan.sub_batches == 1
        if single and not self._noticed and self.model.reduction.rank == 0:
            logging.warning(
                "noise_scale: an update of batch_size=%d is one sub-batch, which says nothing of the noise: give fit "
                "a smaller sub_batch_size; until then its columns stay empty",
                plan.batch_size,
            )
        self._noticed |= single

    def observe_norm(self, norm: tf.Tensor, samples: tf.Tensor) -> None:
        """Adds b_i |g_i|^2, and counts the sub-batch."""
        self._parts.assign_add(tf.stack([samples * norm**2, tf.cast(samples > 0, tf.float32)]))

    def scalars(self) -> list[tf.Tensor]:
        """S and k of this rank."""
        return [tf.convert_to_tensor(self._parts)]

    def observe_update(
        self, gradients: list[tf.Tensor], samples: tf.Tensor, scalars: list[tf.Tensor]
    ) -> None:
        """Takes the update's estimates into the averages, if there are any."""
        factor = self.model.reduction.factor
        regularized = squared_norm(gradients) / factor**2
        gradients = without_regularization(self.model, gradients, factor)
        square = squared_norm(gradients) / factor**2
        trace, _ = estimates(scalars[0][0], scalars[0][1], samples, regularized)
        # Of M instances of each sample side by side, B is that of the samples.
        distinct = samples / self.model.batch_augmentation.instances
        trace /= self.model.batch_augmentation.instances
        new = tf.stack([trace, square - trace / distinct, distinct, 1.0])
        averages = self.decay * self._averages + (1 - self.decay) * new
        usable = (scalars[0][1] > 1) & tf.reduce_all(tf.math.is_finite(new))
        self._averages.assign(tf.where(usable, averages, self._averages))
        self._parts.assign([0.0, 0.0])
        rate = rate_of_next_step(self.model)
        rate = tf.cast(math.nan if rate is None else rate, tf.float32)
        self._last.assign(tf.stack([rate, tf.maximum(self._last[1], samples)]))

    def columns(self, epoch: int) -> dict[str, Any]:
        """The noise scale, what it is made of and what follows from it."""
        trace, square, samples, weight = (float(value) for value in self._averages.numpy())
        columns = dict.fromkeys(COLUMNS)
        if weight:
            trace, square, samples = trace / weight, square / weight, samples / weight
            ratio = math.sqrt(square * samples / trace) if square > 0 < trace else math.nan
            scale = trace / square if square > 0 else math.nan
            columns.update(zip(COLUMNS, (scale, trace, square, ratio)))
        columns["noise_scale_predicted"] = self._predicted()
        return columns

    def _predicted(self) -> float | None:
        """The noise scale of SGD's motion; None where rate, momentum or the samples of an epoch are not known."""
        model, plan, tail = self.model, self.model.batch_plan, self.model.update_state.tail
        rate, batch_size = (float(value) for value in self._last.numpy())
        momentum = getattr(plain_optimizer(model.optimizer), "momentum", None)
        if momentum is None or tail is None or not math.isfinite(rate) or not batch_size:
            return None
        unit = 1 if tail.unit == "samples" else plan.ranks * plan.samples_a_rank_computes
        momentum = float(tf.keras.backend.get_value(momentum))
        # Instances count in both numbers, so that the ratio is that of the samples.
        return predicted_noise_scale(rate, tail.length * unit, batch_size, momentum)


COLUMNS = (
    "noise_scale",
    "gradient_variance",
    "gradient_square",
    "signal_to_noise_estimate",
    "noise_scale_predicted",
)


def check_apart(augmentation: BatchAugmentation) -> None:
    """Raises ValueError where sub-batches share samples, so that their gradients are not independent."""
    if augmentation.instances > 1 and augmentation.placement != "sub_batch":
        raise ValueError(
            f"placement={augmentation.placement!r} puts instances of the same samples into several sub-batches, which "
            "noise_scale compares as independent ones: use placement='sub_batch', or leave noise_scale out."
        )


def estimates(squares: Any, parts: Any, samples: Any, square: Any) -> tuple[Any, Any]:
    """The estimates tr and G^2 of an update, without bias, from numbers or tensors.

    Args:
        squares: S, the sum of b_i |g_i|^2 over the sub-batches.
        parts: k, the number of sub-batches.
        samples: B, the sum of the b_i.
        square: |g|^2 of the mean gradient over all samples.

    Returns:
        (tr, G^2); not a number or infinite for a single sub-batch, if they are NumPy's or TensorFlow's.

    Example:
        >>> estimates(squares=40.0, parts=4, samples=4, square=9.0)  # gradients 2, 2, 4, 4
        (1.3333333333333333, 8.666666666666666)
    """
    trace = (squares - samples * square) / (parts - 1)
    return trace, square - trace / samples


def predicted_noise_scale(rate: float, samples: int, batch_size: float, momentum: float) -> float:
    """Smith and Le's noise scale of SGD with momentum: rate x samples / (batch x (1 - momentum)).

    Args:
        rate: mu, the learning rate.
        samples: N, those of the training set.
        batch_size: m, those of an update.
        momentum: kappa, at least 0 and less than 1.

    Example:
        >>> predicted_noise_scale(0.1, 50_000, 500, 0.5)
        20.0
    """
    return rate * samples / (batch_size * (1 - momentum))
