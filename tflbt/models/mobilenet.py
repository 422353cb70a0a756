"""MobileNet v1 for ImageNet: Howard et al. (2017), table 1.

A 3x3 convolution of stride 2, then thirteen depthwise separable blocks (a 3x3 convolution of each channel by itself,
then a 1x1 one that mixes channels), then the mean over positions and a dense layer. Every convolution is followed by
batch normalisation and ReLU. The last block's depthwise convolution has stride 1, as in all code in use: the 2 of the
paper's table 1 does not fit its own sizes.

Kernels start as in the authors' code (slim's `mobilenet_v1.py`): normal, cut at two deviations of 0.09; biases 0.
Padding is TensorFlow's "same", as there.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tflbt import checks
from tflbt.models import parts
from tflbt.models.prepared import prepares

_LAYERS = tf.keras.layers
_STEM = 32  # channels at alpha 1
_DEVIATION = 0.09  # of the kernels at the start
BLOCKS = (  # channels at alpha 1, and the stride
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


@prepares()
def mobilenet(
    alpha: float = 1.0,
    *,
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
    blocks: Sequence[tuple[int, int]] = BLOCKS,
    dropout: float = 0.0,
    max_activation: float | None = None,
) -> tf.keras.Model:
    """Builds MobileNet v1.

    The authors' code has `bn_epsilon=1e-3`. Trainable parameters with 1,000 classes, as
    `tf.keras.applications.MobileNet` (the paper's tables 6 and 8 in brackets, in millions): alpha 1 4,231,976 (4.2),
    0.75 2,585,560 (2.6), 0.5 1,331,592 (1.3), 0.25 470,072 (0.5).

    Args:
        alpha: Width multiplier > 0: channels are this many times the paper's, rounded down.
        input_shape: Height, width and channels of an image; the paper has sides of 128, 160, 192 and 224.
        classes: Number of logits, at least 1.
        blocks: Channels (before `alpha`) and stride of each block.
        dropout: Share of values dropped in training before the logits, 0 <= dropout < 1; the authors' code has 0.001.
        max_activation: Where ReLUs are cut off; 6 in the authors' code. None: not, as in the paper and convNet.pytorch
            (the code of the first author of `batch-augmentation.txt`).

    Raises:
        ValueError: If alpha leaves a layer without channels, or the dropout is out of its range.

    Example:
        >>> from tflbt.models.mobilenet import mobilenet
        >>> model = mobilenet(0.25, input_shape=(64, 64, 3))
        >>> sum(int(tf.size(variable)) for variable in model.trainable_variables)
        470072
    """
    if alpha * min(_STEM, *(channels for channels, _ in blocks)) < 1:
        raise ValueError(f"alpha={alpha!r} must leave each layer at least one channel.")
    if max_activation is not None:
        checks.number("max_activation", max_activation, more_than=0)
    checks.number("dropout", dropout, at_least=0, less_than=1)
    inputs = tf.keras.Input(tuple(input_shape), name="images")
    x = _convolution(inputs, int(alpha * _STEM), 3, 2, "stem")
    x = _activated(x, max_activation, "stem")
    for number, (channels, stride) in enumerate(blocks, start=1):
        name = f"block{number}_depthwise"
        x = _activated(_depthwise(x, stride, name), max_activation, name)
        name = f"block{number}_pointwise"
        x = _convolution(x, int(alpha * channels), 1, 1, name)
        x = _activated(x, max_activation, name)
    x = parts.mean_over_positions(x)
    if dropout:
        x = _LAYERS.Dropout(dropout, name="dropout")(x)
    logits = parts.logits(x, classes, kernel_initializer=_start())
    return tf.keras.Model(inputs, logits, name="mobilenet")


def _convolution(x: tf.Tensor, channels: int, kernel: int, stride: int, name: str) -> tf.Tensor:
    """A convolution that mixes channels."""
    return parts.convolution(
        x, channels, f"{name}_conv", stride, kernel, kernel_initializer=_start()
    )


def _depthwise(x: tf.Tensor, stride: int, name: str) -> tf.Tensor:
    """A 3x3 convolution of each channel by itself."""
    options = {"padding": "same", "use_bias": False, "depthwise_initializer": _start()}
    return _LAYERS.DepthwiseConv2D(3, strides=stride, name=f"{name}_conv", **options)(x)


def _activated(x: tf.Tensor, max_activation: float | None, name: str) -> tf.Tensor:
    """Normalisation and ReLU."""
    x = parts.normalisation(x, f"{name}_bn")
    return _LAYERS.ReLU(max_activation, name=f"{name}_relu")(x)


def _start() -> tf.keras.initializers.Initializer:
    """An initialiser for a single kernel: one without a seed gives the same values each time."""
    return tf.keras.initializers.TruncatedNormal(stddev=_DEVIATION)
