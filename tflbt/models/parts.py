"""Layers that most of the networks share: convolutions without bias, batch normalisation, logits in float32."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt.models.prepared import DEFAULTS

_LAYERS = tf.keras.layers


def convolution(
    x: tf.Tensor,
    channels: int,
    name: str,
    stride: int = 1,
    kernel: int | tuple[int, int] = 3,
    **options: Any,
) -> tf.Tensor:
    """A convolution with "same" padding and without bias, since the normalisation after it has one."""
    options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal", **options}
    return _LAYERS.Conv2D(channels, kernel, strides=stride, name=name, **options)(x)


def normalisation(x: tf.Tensor, name: str, **options: Any) -> tf.Tensor:
    """Batch normalisation; `tflbt.models.prepared` may change its settings later."""
    momentum, epsilon = DEFAULTS["bn_momentum"], DEFAULTS["bn_epsilon"]
    layer = _LAYERS.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name, **options)
    return layer(x)


def relu(x: tf.Tensor, name: str) -> tf.Tensor:
    """A ReLU as a layer of its own."""
    return _LAYERS.ReLU(name=name)(x)


def mean_over_positions(x: tf.Tensor) -> tf.Tensor:
    """One number per channel."""
    return _LAYERS.GlobalAveragePooling2D(name="mean_over_positions")(x)


def logits(x: tf.Tensor, classes: int, **options: Any) -> tf.Tensor:
    """The output layer, in float32 so that the loss is exact under mixed precision."""
    options = {"kernel_initializer": "he_normal", **options}
    return _LAYERS.Dense(classes, dtype="float32", name="logits", **options)(x)
