"""LeNet for MNIST, as large-batch papers use the name: two convolutions, two dense layers."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tflbt import checks
from tflbt.models import parts
from tflbt.models.prepared import prepares


@prepares("weight_decay")
def lenet(
    *,
    input_shape: tuple[int, int, int] = (28, 28, 1),
    classes: int = 10,
    filters: Sequence[int] = (32, 64),
    units: int = 1024,
    padding: str = "same",
    dropout: float = 0.0,
) -> tf.keras.Model:
    """Builds the LeNet of Google's TPU examples, which `limit-of-the-batch-size` trains on MNIST.

    Convolution 5x5x32, max pooling 2, convolution 5x5x64, max pooling 2, dense 1,024, dense 10; ReLU after each layer
    but the last, "same" padding: 3,274,634 parameters for 28x28x1 images and 10 classes. That is
    `official/mnist/mnist.py` of `tensorflow/models`, taken to be Google's implementation that You et al. cite ([41];
    they give no sizes). It drops 0.4 of the hidden units, which is not the default here. `filters=(20, 50), units=500,
    padding="valid"` has the shape of Caffe's LeNet, with its 431,080 parameters.

    Args:
        input_shape: Height, width and channels of an image.
        classes: Number of logits, at least 1.
        filters: Channels of the two convolutions.
        units: Width of the hidden dense layer.
        padding: "same" or "valid", of the convolutions.
        dropout: Share of hidden units dropped in training, 0 <= dropout < 1.

    Raises:
        ValueError: If there are not two filters, or dropout is out of its range.

    Example:
        >>> from tflbt.models.lenet import lenet
        >>> lenet().count_params()
        3274634
    """
    if len(filters) != 2:
        raise ValueError(f"filters must be two numbers, got {tuple(filters)}.")
    checks.number("dropout", dropout, at_least=0, less_than=1)
    layers = tf.keras.layers
    options = {"activation": "relu", "kernel_initializer": "he_normal"}
    inputs = x = tf.keras.Input(tuple(input_shape), name="images")
    for number, width in enumerate(filters, start=1):
        x = layers.Conv2D(width, 5, padding=padding, name=f"conv{number}", **options)(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Dense(units, name="hidden", **options)(layers.Flatten(name="flatten")(x))
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    logits = parts.logits(x, classes, kernel_initializer="glorot_uniform")
    return tf.keras.Model(inputs, logits, name="lenet")
