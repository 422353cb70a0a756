"""Gaussian noise in the weights or gradients of every update, and random labels: drawn the same on every rank."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.data.sample_seeds import sample_seeds, uniform, uniform_integers
from tflbt.training.keras_internals import plain_optimizer
from tflbt.training.rules.gradient_statistics import squared_norm
from tflbt.training.rules.rule import Rule

_OF_WEIGHTS, _OF_GRADIENTS = range(2)  # words of their seeds


@checks.arguments
@dataclasses.dataclass(eq=False)
class GradientNoise(Rule):
    r"""Adds Gaussian noise to the gradient of every update, once, after the sum over sub-batches and ranks.

    $$g_t \leftarrow g_t + \mathcal{N}(0, s_t^2), \qquad s_t = \frac{s}{(1 + t)^{\gamma}}$$

    in its true scale, before clipping and the trust ratio. The noise depends on (seed, update, variable) alone: it is
    the same on every rank, and a resumed run draws the same. It logs `injected_gradient_noise`, the length of the
    last update's noise divided by that of its gradient.

    Args:
        std: s, at least 0; default 0: none. The paper tuned it and gives no numbers: try 1e-4 to 1, by tens.
        decay: gamma, at least 0; default 0, a constant s; 0.55 is that of Neelakantan et al. 2015.
        relative: Whether s counts in root mean squares of each variable's gradient; default False.
        seed: Of the noise, a whole number at least 0, default 0.

    Raises:
        ValueError: If an argument is out of its range.

    Source: appendix 6.3 of `limit-of-the-batch-size.txt`, in which it did not help large batches.

    Example:
        >>> GradientNoise(0.01, decay=0.55).idle, GradientNoise().idle
        (False, True)
    """

    std: float = 0.0
    decay: float = 0.0
    relative: bool = False
    seed: int = 0

    name: ClassVar[str] = "gradient_noise"
    _ratio: Any = dataclasses.field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the options."""
        checks.number("std", self.std, at_least=0)
        checks.number("decay", self.decay, at_least=0)
        checks.whole("seed", self.seed, at_least=0)

    @property
    def idle(self) -> bool:
        """True without noise."""
        return not self.std

    def start(self, model: Any, spec: Any) -> None:
        """Creates what is logged."""
        super().start(model, spec)
        if self._ratio is None:
            self._ratio = tf.Variable(0.0, trainable=False, name="tflbt_gradient_noise")

    def change_gradients(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients with noise."""
        update = _update(self.model)
        std = self.std / (1.0 + tf.cast(update, tf.float32)) ** self.decay
        noise = noise_like(gradients, std, self.relative, (self.seed, _OF_GRADIENTS), update)
        self._ratio.assign(tf.sqrt(squared_norm(noise) / squared_norm(gradients)))
        return [gradient + part for gradient, part in zip(gradients, noise)]

    def columns(self, epoch: int) -> dict[str, Any]:
        """The ratio of the last update."""
        return {"injected_gradient_noise": float(self._ratio)}


@checks.arguments
@dataclasses.dataclass(eq=False)
class WeightNoise(Rule):
    r"""Takes the gradient of every update at weights with Gaussian noise, and the step from the weights without it.

    $$w_{t+1} = w_t - \text{step}(\nabla L(w_t + n_t)), \qquad n_t \sim \mathcal{N}(0, s^2)$$

    All sub-batches and ranks of an update see the same noise, which depends on (seed, update, variable) alone, so that
    a resumed run draws the same. The weights are put back bit for bit before the step; the price is a copy of them
    while the sub-batches are computed. Moving statistics of batch normalisation see the noisy pass. It logs
    `injected_weight_noise`, the length of the last update's noise divided by that of the weights.

    Args:
        std: s, at least 0; default 0: none.
        relative: Whether s counts in root mean squares of each variable, so that one of zeros has no noise; default
            False.
        seed: Of the noise, a whole number at least 0, default 0.

    Raises:
        ValueError: If an argument is out of its range.

    Source: appendix 6.3 of `limit-of-the-batch-size.txt`. Noise that stays in the weights would be a random walk.

    Example:
        >>> WeightNoise(0.1, relative=True).idle, WeightNoise().idle
        (False, True)
    """

    std: float = 0.0
    relative: bool = False
    seed: int = 0

    name: ClassVar[str] = "weight_noise"
    _ratio: Any = dataclasses.field(default=None, init=False, repr=False)
    _clean: Any = dataclasses.field(default=None, init=False, repr=False)  # tensors of this update

    def __post_init__(self) -> None:
        """Checks the options."""
        checks.number("std", self.std, at_least=0)
        checks.whole("seed", self.seed, at_least=0)

    @property
    def idle(self) -> bool:
        """True without noise."""
        return not self.std

    def start(self, model: Any, spec: Any) -> None:
        """Creates what is logged."""
        super().start(model, spec)
        if self._ratio is None:
            self._ratio = tf.Variable(0.0, trainable=False, name="tflbt_weight_noise")

    def begin_update(self) -> None:
        """Adds the noise."""
        variables = self.model.trainable_variables
        self._clean = clean = [variable.read_value() for variable in variables]
        words = self.seed, _OF_WEIGHTS
        noise = noise_like(clean, self.std, self.relative, words, _update(self.model))
        self._ratio.assign(tf.sqrt(squared_norm(noise) / squared_norm(clean)))
        for variable, value, part in zip(variables, clean, noise):
            variable.assign(value + part)

    def end_sub_batches(self) -> list[Any]:
        """Puts the weights back."""
        clean, self._clean = self._clean, None
        return [v.assign(value) for v, value in zip(self.model.trainable_variables, clean)]

    def columns(self, epoch: int) -> dict[str, Any]:
        """The ratio of the last update."""
        return {"injected_weight_noise": float(self._ratio)}


@checks.arguments
@dataclasses.dataclass(eq=False)
class LabelNoise(Rule):
    r"""Replaces integer labels, each with probability p, by another class, all others alike; metrics see clean ones.

    The draw of a sample depends on (seed, update, its place in the update) alone, so it is the same whatever the
    sub-batches and ranks, new in every epoch, and the same again in a resumed run. The loss that `fit` shows is that of
    the noisy labels. For labels that stay wrong, change them before `fit`. It logs `label_noise`, the probability.

    Args:
        probability: p, between 0 and 1; default 0: none.
        classes: K; default None: what the model's output has, 2 for a single unit.
        seed: Of the draws, a whole number at least 0, default 0.

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, unless y is one array of integer labels
            `[n]` or `[n, 1]`, or if a rule chooses samples by the losses of a whole update.

    Source: appendix 6.3 of `limit-of-the-batch-size.txt`.

    Example:
        >>> LabelNoise(0.1).idle, LabelNoise().idle
        (False, True)
    """

    probability: float = 0.0
    classes: int | None = None
    seed: int = 0

    name: ClassVar[str] = "label_noise"
    _count: int = dataclasses.field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the options."""
        checks.number("probability", self.probability, at_least=0, at_most=1)
        checks.whole("seed", self.seed, at_least=0)
        if self.classes is not None:
            checks.whole("classes", self.classes, at_least=2)

    @property
    def idle(self) -> bool:
        """True without noise."""
        return not self.probability

    def start(self, model: Any, spec: Any) -> None:
        """Checks the labels; finds the number of classes."""
        super().start(model, spec)
        _, y, _ = tf.keras.utils.unpack_x_y_sample_weight(spec)
        labels = tf.nest.flatten(y)
        shape = labels[0].shape if len(labels) == 1 and labels[0].dtype.is_integer else None
        if shape is None or not (shape.rank == 1 or (shape.rank == 2 and shape[1] == 1)):
            raise ValueError(
                f"label_noise of probability={self.probability} takes y as one array of integer labels, [n] or [n, 1], "
                f"not {y}: change other targets before fit."
            )
        outputs = tf.nest.flatten(model.output_shape) if self.classes is None else [self.classes]
        self._count = max(2, int(outputs[-1]))

    def targets(self, step: tf.Tensor, data: Any) -> Any:
        """The noisy labels of a sub-batch."""
        _, y, _ = tf.keras.utils.unpack_x_y_sample_weight(data)
        (labels,) = tf.nest.flatten(y)
        seeds = seeds_of_samples(self.model, self.seed, step, tf.shape(labels)[0])
        wrong = uniform(seeds, 0) < self.probability
        step_on = tf.where(wrong, 1 + uniform_integers(seeds, 1, self._count - 1), 0)
        step_on = tf.reshape(tf.cast(step_on, labels.dtype), tf.shape(labels))
        return tf.nest.pack_sequence_as(y, [(labels + step_on) % self._count])

    def columns(self, epoch: int) -> dict[str, Any]:
        """The probability."""
        return {"label_noise": self.probability}


def noise_like(
    tensors: list[tf.Tensor],
    std: Any,
    relative: bool,
    words: tuple[int, ...],
    update: tf.Tensor,
) -> list[tf.Tensor]:
    """Gaussian noise of the shapes of tensors, which depends on the words, the update and each tensor's place.

    With `relative`, the standard deviation counts in root mean squares of each tensor.
    """
    noise = []
    for place, tensor in enumerate(tensors):
        (word,) = np.random.SeedSequence([*words, place]).generate_state(1)
        part = std * tf.random.stateless_normal(tensor.shape, [int(word >> 1), update])
        if relative:
            part *= tf.sqrt(tf.reduce_mean(tf.square(tf.cast(tensor, tf.float32))))
        noise.append(tf.cast(part, tensor.dtype))
    return noise


def seeds_of_samples(model: Any, seed: int, step: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Seeds `[count, 2]` of a sub-batch's samples that depend on (seed, update, place in the update) alone."""
    reduction = model.reduction
    ranks = tf.cast(reduction.size_in_graph, tf.int64)
    number = tf.cast(step, tf.int64) * ranks + tf.cast(reduction.rank_in_graph, tf.int64)
    first = number * tf.cast(model.update_state.nominal, tf.int64)
    return sample_seeds(seed, _update(model), first + tf.range(tf.cast(count, tf.int64)))


def _update(model: Any) -> tf.Tensor:
    """The number of updates so far, an int32 scalar."""
    return tf.cast(plain_optimizer(model.optimizer).iterations, tf.int32)
