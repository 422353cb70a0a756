"""The AlexNet-like network that the ABS papers train on SVHN and CIFAR-10: "S1", and "C1" of Yao et al. (2018).

Twice: a 5x5 convolution of 64 channels, ReLU, batch normalisation (after the ReLU, as in the authors' code) and max
pooling of 3x3 with stride 2; then dense layers of 384 and 192 units with ReLU, and the logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tflbt.models import parts
from tflbt.models.prepared import prepares

_LAYERS = tf.keras.layers


@prepares()
def small_alexnet(
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    filters: Sequence[int] = (64, 64),
    units: Sequence[int] = (384, 192),
) -> tf.keras.Model:
    """Builds the network of `models/c1.py` in the authors' HessianFlow.

    1,756,682 trainable parameters for 32x32x3 images and 10 classes. Its max pooling pads one pixel before the image;
    TensorFlow's "same" here pads one after it. For sides that are even before each pooling that is the same network
    of images (and kernels) turned by 180 degrees.

    Args:
        input_shape: Height, width and channels of an image.
        classes: Number of logits, at least 1.
        filters: Channels of each convolution.
        units: Widths of the hidden dense layers.

    Example:
        >>> from tflbt.models.small_alexnet import small_alexnet
        >>> sum(int(tf.size(variable)) for variable in small_alexnet().trainable_variables)
        1756682
    """
    options = {"activation": "relu", "kernel_initializer": "he_normal"}
    inputs = x = tf.keras.Input(tuple(input_shape), name="images")
    for number, channels in enumerate(filters, start=1):
        x = _LAYERS.Conv2D(channels, 5, padding="same", name=f"conv{number}", **options)(x)
        x = parts.normalisation(x, f"bn{number}")
        x = _LAYERS.MaxPooling2D(3, 2, padding="same", name=f"pool{number}")(x)
    x = _LAYERS.Flatten(name="flatten")(x)
    for number, width in enumerate(units, start=1):
        x = _LAYERS.Dense(width, name=f"dense{number}", **options)(x)
    return tf.keras.Model(inputs, parts.logits(x, classes), name="small_alexnet")
