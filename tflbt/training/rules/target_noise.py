"""Gaussian noise on one-hot targets, or on real ones, of every update."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import tensorflow as tf

from tflbt import checks
from tflbt.data.sample_seeds import normal
from tflbt.training.rules.label_smoothing import SmoothedSparseCategoricalCrossentropy
from tflbt.training.rules.noise_injection import seeds_of_samples
from tflbt.training.rules.rule import Rule


@dataclasses.dataclass(eq=False)
class TargetNoise(Rule):
    r"""Adds Gaussian noise to targets, $t \leftarrow t + \mathcal{N}(0, s^2)$; metrics see the clean ones.

    The targets are one-hot labels or real numbers, or integer labels, made one-hot, of a model that is compiled with
    `SmoothedSparseCategoricalCrossentropy`, as recipes are for it. The draw of a sample depends on (seed, update, its
    place in the update) alone, so it is the same whatever the sub-batches and ranks, new in every epoch, and the same
    again in a resumed run. The loss that `fit` shows is that of the noisy targets, which can be below 0. It logs
    `target_noise`, which is s.

    Noisy targets do not sum to 1. With logits z, Keras's `CategoricalCrossentropy(from_logits=True)` takes
    $\mathrm{softmax}(z) - t$ for the derivative all the same, that loss of ours the true one.

    Args:
        std: s, at least 0; default 0: none. The paper tuned it and gives no numbers: try 1e-4 to 1, by tens.
        seed: Of the draws, a whole number at least 0, default 0.

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, unless y is one array of a known shape
            and of such targets, or if a rule chooses samples by the losses of a whole update.

    Source: appendix 6.3 of `limit-of-the-batch-size.txt`, "outputs, i.e. the labels or target variables".

    Example:
        >>> TargetNoise(0.1).idle, TargetNoise().idle
        (False, True)
    """

    std: float = 0.0
    seed: int = 0

    name: ClassVar[str] = "target_noise"
    _shape: tuple[int, ...] = dataclasses.field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the options."""
        checks.number("std", self.std, at_least=0)
        checks.whole("seed", self.seed, at_least=0)

    @property
    def idle(self) -> bool:
        """True without noise."""
        return not self.std

    def start(self, model: Any, spec: Any) -> None:
        """Checks the targets; finds the shape of a sample's."""
        super().start(model, spec)
        _, y, _ = tf.keras.utils.unpack_x_y_sample_weight(spec)
        targets = tf.nest.flatten(y)
        shape = targets[0].shape if len(targets) == 1 else tf.TensorShape(None)
        labels = bool(targets) and targets[0].dtype.is_integer
        one_each = shape.rank == 1 or (shape.rank == 2 and shape[1] == 1)
        if labels and one_each and isinstance(model.loss, SmoothedSparseCategoricalCrossentropy):
            shape = tf.TensorShape([None, model.output_shape[-1]])
        elif labels or not (shape.rank and shape[1:].is_fully_defined()):
            raise ValueError(
                f"target_noise of std={self.std} takes y as one array of one-hot or real targets, not {y}: give "
                "tf.one_hot(y, classes), or compile with tflbt.training.SmoothedSparseCategoricalCrossentropy(0.0)."
            )
        self._shape = tuple(shape[1:])

    def targets(self, step: tf.Tensor, data: Any) -> Any:
        """The noisy targets of a sub-batch."""
        _, y, _ = tf.keras.utils.unpack_x_y_sample_weight(data)
        (clean,) = tf.nest.flatten(y)
        if clean.dtype.is_integer:
            clean = tf.one_hot(tf.reshape(clean, [-1]), self._shape[0])
        seeds = seeds_of_samples(self.model, self.seed, step, tf.shape(clean)[0])
        noise = self.std * normal(seeds, math.prod(self._shape))
        noisy = clean + tf.cast(tf.reshape(noise, tf.shape(clean)), clean.dtype)
        return tf.nest.pack_sequence_as(y, [noisy])

    def columns(self, epoch: int) -> dict[str, Any]:
        """The standard deviation."""
        return {"target_noise": self.std}
