"""Wide residual networks for small images: Zagoruyko and Komodakis (2016).

A 3x3 convolution of 16 channels, then three stages of n blocks with 16k, 32k and 64k channels, then batch
normalisation, ReLU, the mean over positions and a dense layer: depth = 6n + 4 counts the convolutions, the three
1x1 ones of the shortcuts included. A block is pre-activated: normalisation and ReLU come before each of its two 3x3
convolutions, and nothing follows the sum. Where a block changes the shape, its shortcut is a 1x1 convolution of what
the first ReLU gives, as in the authors' code; it has no normalisation of its own.

Padding is TensorFlow's "same": at stride 2 it begins a pixel later than PyTorch's.
"""

from __future__ import annotations

import tensorflow as tf

from tflbt import checks
from tflbt.models import parts
from tflbt.models.prepared import prepares

_LAYERS = tf.keras.layers
_STAGES = (16, 32, 64)  # channels at width 1


@prepares()
def wide_resnet(
    depth: int = 16,
    width: int = 4,
    *,
    input_shape: tuple[int | None, int | None, int] = (32, 32, 3),
    classes: int = 10,
    dropout: float = 0.0,
) -> tf.keras.Model:
    """Builds WRN-depth-width.

    Trainable parameters with 10 classes (the paper's figures in brackets, in millions): 16-4 2,748,890, 16-8
    10,961,370 (11.0), 28-10 36,479,194 (36.5), and 40-4 8,949,210, as the authors' log of its training says.

    Args:
        depth: 6n + 4, such as 10, 16, 22, 28 or 40.
        width: k >= 1, by which the channels of a residual network for CIFAR are multiplied.
        input_shape: Height, width and channels of an image.
        classes: Number of logits, at least 1.
        dropout: Share of values dropped in training before the second convolution of each block, 0 <= dropout < 1.

    Raises:
        ValueError: If the depth is not 6n + 4, the width below 1 or the dropout out of its range.

    Example:
        >>> from tflbt.models.wide_resnet import wide_resnet
        >>> sum(int(tf.size(variable)) for variable in wide_resnet(16, 4).trainable_variables)
        2748890
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth={depth!r} must be 6n + 4, such as 10, 16, 22, 28 or 40.")
    checks.whole("width", width, at_least=1)
    checks.number("dropout", dropout, at_least=0, less_than=1)
    inputs = tf.keras.Input(tuple(input_shape), name="images")
    x = parts.convolution(inputs, _STAGES[0], "stem")
    for stage, channels in enumerate(_STAGES, start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(x, width * channels, stride, dropout, f"stage{stage}_block{block}")
    x = parts.relu(parts.normalisation(x, "last_bn"), "last_relu")
    logits = parts.logits(parts.mean_over_positions(x), classes)
    return tf.keras.Model(inputs, logits, name=f"wide_resnet{depth}_{width}")


def _block(x: tf.Tensor, channels: int, stride: int, dropout: float, name: str) -> tf.Tensor:
    """Two pre-activated 3x3 convolutions, with dropout between them, beside a shortcut."""
    shortcut = x
    x = parts.relu(parts.normalisation(x, f"{name}_bn1"), f"{name}_relu1")
    if stride > 1 or x.shape[-1] != channels:
        shortcut = parts.convolution(x, channels, f"{name}_shortcut_conv", stride, kernel=1)
    x = parts.convolution(x, channels, f"{name}_conv1", stride)
    x = parts.relu(parts.normalisation(x, f"{name}_bn2"), f"{name}_relu2")
    if dropout:
        x = _LAYERS.Dropout(dropout, name=f"{name}_dropout")(x)
    x = parts.convolution(x, channels, f"{name}_conv2")
    return _LAYERS.Add(name=f"{name}_add")([shortcut, x])
