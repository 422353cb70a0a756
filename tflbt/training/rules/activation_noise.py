"""Gaussian noise in the outputs of hidden layers while an update's gradient is computed."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.data.user_functions import converted
from tflbt.training.keras_internals import plain_optimizer
from tflbt.training.rules.gradient_statistics import layers_in_order
from tflbt.training.rules.rule import Rule

PLACES = ("after", "before")
_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
_LINEAR = tf.keras.activations.linear


@checks.arguments
@dataclasses.dataclass(eq=False)
class ActivationNoise(Rule):
    r"""Adds Gaussian noise to the outputs of every layer with a kernel, but for the last one, whose are the logits.

    $$a \leftarrow a + \mathcal{N}(0, s^2)$$

    in the pass of which the gradient is taken, and in no other. A draw depends on (seed, update, number of the
    sub-batch in the update, layer) alone: it is the same for any number of ranks with the same `sub_batch_size`, and
    the same again in a resumed run. The layers are dense and convolutional ones. It logs `activation_noise`, which is
    s.

    Args:
        std: s, at least 0; default 0: none. The paper tuned it and gives no numbers: try 1e-4 to 1, by tens.
        place: "after" (default) the layer with its own activation function, or "before" that; layers without one, as
            before a normalisation, have the same.
        relative: Whether s counts in root mean squares of a sub-batch's outputs of the layer; default False.
        seed: Of the noise, a whole number at least 0, default 0.

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if the model has no hidden layer with a
            kernel, is compiled with `jit_compile`, or a rule chooses samples by the losses of a whole update.

    Source: appendix 6.3 of `limit-of-the-batch-size.txt`, "the outputs of each layer".

    Example:
        >>> ActivationNoise(0.1).idle, ActivationNoise().idle
        (False, True)
    """

    std: float = 0.0
    place: str = "after"
    relative: bool = False
    seed: int = 0

    name: ClassVar[str] = "activation_noise"
    _attributes: Any = dataclasses.field(default=(), init=False, repr=False)
    _draw: Any = dataclasses.field(default=None, init=False, repr=False)  # of this sub-batch

    def __post_init__(self) -> None:
        """Checks the options."""
        checks.number("std", self.std, at_least=0)
        checks.one_of("place", self.place, PLACES)
        checks.whole("seed", self.seed, at_least=0)

    @property
    def idle(self) -> bool:
        """True without noise."""
        return not self.std

    def start(self, model: Any, spec: Any) -> None:
        """Checks that the noise has a place."""
        super().start(model, spec)
        chooser = model.rules.chooser
        if model.jit_compile or (chooser is not None and chooser.scope == "update"):
            what = "jit_compile=True" if model.jit_compile else f"scope='update' of {chooser.name}"
            raise ValueError(
                f"activation_noise of std={self.std} does not go with {what}: leave one out."
            )
        if not hidden_layers(model):
            raise ValueError(
                f"activation_noise of std={self.std} needs a hidden dense or convolutional layer, and {model.name!r} "
                "has none: leave it out."
            )

    def begin_update(self) -> None:
        """Puts the noise behind the layers, for as long as the update's sub-batches are computed or traced."""
        self._attributes = [
            self._patched(layer, place) for place, layer in enumerate(hidden_layers(self.model))
        ]

    def _patched(self, layer: Any, place: int) -> tuple[Any, str, Any]:
        """Puts noise behind a layer's call or before its activation; returns what undoes it."""
        noise = _InTraining(lambda outputs: self._noisy(outputs, place))
        activation = getattr(layer, "activation", None)
        if self.place == "before" and activation not in (None, _LINEAR):
            layer.activation = lambda inputs: converted(activation)(noise(inputs))
            return layer, "activation", activation
        call = layer.call
        layer.call = lambda *inputs, **options: noise(converted(call)(*inputs, **options))
        return layer, "call", None

    def prepare(self, step: tf.Tensor, data: Any) -> Any:
        """Notes which sub-batch it is."""
        reduction = self.model.reduction
        number = tf.cast(step, tf.int32) * reduction.size_in_graph + reduction.rank_in_graph
        update = tf.cast(plain_optimizer(self.model.optimizer).iterations, tf.int32)
        self._draw = tf.stack([update, number])
        return data

    def _noisy(self, outputs: tf.Tensor, place: int) -> tf.Tensor:
        """A layer's outputs with noise."""
        words = np.random.SeedSequence([self.seed, place]).generate_state(2).astype(np.int32)
        seed = tf.random.experimental.stateless_fold_in(
            tf.random.experimental.stateless_fold_in(words, self._draw[0]), self._draw[1]
        )
        noise = self.std * tf.random.stateless_normal(tf.shape(outputs), seed)
        if self.relative:
            noise *= tf.sqrt(tf.reduce_mean(tf.square(tf.cast(outputs, tf.float32))))
        return outputs + tf.cast(noise, outputs.dtype)

    def end_sub_batches(self) -> list[Any]:
        """Leaves the layers as they were."""
        for layer, name, value in self._attributes:
            if name == "call":
                del layer.call  # the class has its own
            else:
                setattr(layer, name, value)
        self._attributes, self._draw = (), None
        return []

    def columns(self, epoch: int) -> dict[str, Any]:
        """The standard deviation."""
        return {"activation_noise": self.std}


class _InTraining(tf.keras.layers.Layer):
    """Changes what goes through it in training mode, as the layer is that calls it."""

    def __init__(self, change: Any) -> None:
        super().__init__(dtype="float32", autocast=False)
        self._change = change

    def call(self, inputs: tf.Tensor, training: Any = None) -> tf.Tensor:
        """The inputs, changed in training."""
        return self._change(inputs) if training else inputs


def hidden_layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """The layers with a kernel but for the last, whose outputs are the logits; a shared one once."""
    layers = [
        layer
        for layer in layers_in_order(model)
        if any(getattr(layer, name, None) is not None for name in _KERNELS)
    ]
    return list({id(layer): layer for layer in layers}.values())[:-1]
