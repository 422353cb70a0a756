"""Perplexity as a Keras metric: how many words a language model hesitates between."""

from __future__ import annotations

import tensorflow as tf


@tf.keras.utils.register_keras_serializable(package="tflbt")
class Perplexity(tf.keras.metrics.SparseCategoricalCrossentropy):
    """The exponential of the mean cross-entropy of integer labels and logits, over all words of an epoch.

    Args:
        name: Of the metric.
        dtype: Of its states.

    Example:
        >>> metric = Perplexity()
        >>> _ = metric.update_state([[0, 1]], [[[0.0, 0.0], [0.0, 0.0]]])  # two words, equally likely
        >>> round(float(metric.result()), 5)
        2.0
    """

    def __init__(self, name: str = "perplexity", dtype: str | None = None) -> None:
        super().__init__(name, dtype, from_logits=True)

    def result(self) -> tf.Tensor:
        """The perplexity so far."""
        return tf.exp(super().result())

    def get_config(self) -> dict[str, str | None]:
        """The arguments that make it again."""
        return {"name": self.name, "dtype": self.dtype}
