"""Layers of language models: tied vectors, words and weights that are dropped, penalties on activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_LAYERS = tf.keras.layers
_register = tf.keras.utils.register_keras_serializable(package="tflbt")


@_register
class TiedEmbedding(tf.keras.layers.Embedding):
    """Vectors E of words and, by `reverse=True`, logits `E h + b` of words for vectors h.

    Source: Press and Wolf, "Using the Output Embedding to Improve Language Models" (2016).
    """

    def build(self, input_shape: Any = None) -> None:
        """Makes the vectors and the bias of the logits."""
        super().build(input_shape)
        self.bias = self.add_weight("bias", [self.input_dim], initializer="zeros")

    def call(self, inputs: tf.Tensor, reverse: bool = False) -> tf.Tensor:
        """Looks words up, or with `reverse` makes logits `[n, T, words]` of vectors `[n, T, width]`."""
        if not reverse:
            return super().call(inputs)
        vectors = tf.cast(inputs, self.compute_dtype)
        return tf.einsum("nte,we->ntw", vectors, self.embeddings) + self.bias


@_register
class WordDropout(tf.keras.layers.Layer):
    """Drops a share of the vocabulary in training: vectors become 0 wherever the word stands, others `1 / (1 - rate)`.

    Source: Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in RNNs" (2016).
    """

    def __init__(self, rate: float, words: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.words = rate, words
        self._dropout = _LAYERS.Dropout(rate, dtype=self.dtype_policy)

    def call(self, inputs: Sequence[tf.Tensor], training: Any = None) -> tf.Tensor:
        """Takes vectors `[n, T, width]` and their words `[n, T]`."""
        vectors, words = inputs
        factors = self._dropout(tf.ones([self.words, 1], self.compute_dtype), training=training)
        return vectors * tf.gather(factors, words)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {**super().get_config(), "rate": self.rate, "words": self.words}


@_register
class WeightDropLSTM(tf.keras.layers.LSTM):
    """An LSTM whose weights from state to state are dropped in training: one mask a call, the same at all positions.

    The others are divided by `1 - weight_drop`. It computes on `tf.keras.layers.LSTM`'s fused kernel. Keras's own
    `recurrent_dropout` drops states, not weights.

    Source: Merity et al. (2017), section 2.
    """

    def __init__(self, units: int, weight_drop: float = 0.0, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.weight_drop = weight_drop
        self._weight_dropout = _LAYERS.Dropout(weight_drop, dtype=self.dtype_policy)

    def call(
        self, inputs: Any, mask: Any = None, training: Any = None, initial_state: Any = None
    ) -> Any:
        """As Keras's, with some of the weights dropped."""
        # Keras reads the kernel from its cell. Setting the attribute would make Keras forget the variable.
        attributes, kernel = self.cell.__dict__, self.cell.recurrent_kernel
        attributes["recurrent_kernel"] = self._weight_dropout(
            tf.convert_to_tensor(kernel), training=training
        )
        try:
            return super().call(inputs, mask, training, initial_state)
        finally:
            attributes["recurrent_kernel"] = kernel

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {**super().get_config(), "weight_drop": self.weight_drop}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes a loaded layer's weights: Keras's takes the list that JSON makes of a shape for several shapes."""
        self.build(tuple(config["input_shape"]))


@_register
class ActivationPenalty(tf.keras.layers.Layer):
    """Adds `activation * mean(dropped^2) + slowness * mean((h_t+1 - h_t)^2)` to the loss; returns `dropped`.

    Source: Merity, McCann, Socher, "Revisiting Activation Regularization for Language RNNs" (2017).
    """

    def __init__(self, activation: float, slowness: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation, self.slowness = activation, slowness

    def call(self, inputs: Sequence[tf.Tensor], training: Any = None) -> tf.Tensor:
        """Takes h and h after dropout, both `[n, T, width]`."""
        h, dropped = (tf.cast(x, tf.float32) for x in inputs)
        moved = tf.square(h[:, 1:] - h[:, :-1])
        count = tf.cast(tf.size(moved), tf.float32)  # 0 for one position
        slowness = tf.math.divide_no_nan(tf.reduce_sum(moved), count)
        penalty = self.activation * tf.reduce_mean(tf.square(dropped)) + self.slowness * slowness
        # `training` may be a tensor, so no "if".
        self.add_loss(penalty * tf.cast(False if training is None else training, tf.float32))
        return inputs[1]

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the layer again."""
        return {**super().get_config(), "activation": self.activation, "slowness": self.slowness}
