"""SqueezeNext for small images: Gholami et al. (2018), as its public PyTorch version for CIFAR has it.

A 3x3 convolution of 64 channels, four stages of 6, 6, 8 and 1 blocks with 32, 64, 128 and 256 channels, a 1x1
convolution to 128, the mean over positions and a dense layer; the first block of every stage but the first halves the
image. "2.0-SqNxt-23" has twice the channels. 23 counts the blocks and the two convolutions around them.

A block squeezes its c channels by 1x1 convolutions to `r c` and then `r c / 2`, goes on with a 1x3 to `r c` and
a 3x1 to `r c`, and expands by a 1x1 to its output. r is 1/2; 1 where the block halves the image, in its first
convolution; 1/4 where it has fewer channels to give than it gets. Each convolution has a bias and is followed by batch
normalisation and ReLU, the last before the sum too. Where the shape changes, the shortcut is a 1x1 convolution of the
same kind. (Two more ReLUs of that version, of the plain shortcut and of the sum, change nothing and are left out: both
are at least 0.)

The sizes are those of the notebook in github.com/luuuyi/SqueezeNext.PyTorch. The authors of `abs-absa.txt` do not
say which network for CIFAR they trained; SqueezeNext's paper is about ImageNet. Kernels are drawn as in the notebook,
uniformly with variance `4 / (fan_in + fan_out)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tflbt.models import parts
from tflbt.models.prepared import prepares

_LAYERS = tf.keras.layers
_STEM, _STAGES, _LAST = 64, (32, 64, 128, 256), 128  # channels at width 1


@prepares()
def squeezenext(
    width: float = 1.0,
    *,
    blocks: Sequence[int] = (6, 6, 8, 1),
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
) -> tf.keras.Model:
    """Builds width-SqNxt-23.

    Trainable parameters with 10 classes, as in the PyTorch version: 588,666 at width 1.0, 2,313,962 at width 2.0.

    Args:
        width: By which the channels are multiplied: 1.0, or 2.0 for the paper's "2.0-SqueezeNext".
        blocks: Blocks of each of the four stages. (2, 4, 14, 1) is the "v5" of SqueezeNext's paper.
        input_shape: Height, width and channels of an image.
        classes: Number of logits, at least 1.

    Raises:
        ValueError: If there are not four numbers of blocks of at least 1, or the width is too small for a channel.

    Example:
        >>> from tflbt.models.squeezenext import squeezenext
        >>> sum(int(tf.size(variable)) for variable in squeezenext().trainable_variables)
        588666
    """
    if len(blocks) != len(_STAGES) or min(blocks) < 1:
        raise ValueError(f"blocks={blocks!r} must be four numbers of at least 1.")
    if _STAGES[0] * width < 4:
        raise ValueError(f"width={width!r} must be at least 0.125, for four channels or more.")
    inputs = tf.keras.Input(tuple(input_shape), name="images")
    x = _unit(inputs, int(_STEM * width), 3, "stem")
    for stage, (count, channels) in enumerate(zip(blocks, _STAGES), start=1):
        for block in range(1, count + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(x, int(channels * width), stride, f"stage{stage}_block{block}")
    x = parts.mean_over_positions(_unit(x, int(_LAST * width), 1, "last"))
    name = f"squeezenext{sum(blocks) + 2}"
    return tf.keras.Model(inputs, parts.logits(x, classes), name=name)


def _block(x: tf.Tensor, channels: int, stride: int, name: str) -> tf.Tensor:
    """Five convolutions beside a shortcut, summed."""
    entering = x.shape[-1]
    ratio = 1.0 if stride == 2 else 0.25 if entering > channels else 0.5
    squeezed, least = int(entering * ratio), int(entering * ratio / 2)
    shortcut = x
    if stride == 2 or entering != channels:
        shortcut = _unit(x, channels, 1, f"{name}_shortcut", stride)
    x = _unit(x, squeezed, 1, f"{name}_1", stride)
    x = _unit(x, least, 1, f"{name}_2")
    x = _unit(x, squeezed, (1, 3), f"{name}_3")
    x = _unit(x, squeezed, (3, 1), f"{name}_4")
    x = _unit(x, channels, 1, f"{name}_5")
    return _LAYERS.Add(name=f"{name}_add")([shortcut, x])


def _unit(
    x: tf.Tensor, channels: int, kernel: int | tuple[int, int], name: str, stride: int = 1
) -> tf.Tensor:
    """A convolution with bias, normalisation and ReLU."""
    start = tf.keras.initializers.VarianceScaling(2.0, "fan_avg", "uniform")
    x = parts.convolution(
        x, channels, f"{name}_conv", stride, kernel, use_bias=True, kernel_initializer=start
    )
    return parts.relu(parts.normalisation(x, f"{name}_bn"), f"{name}_relu")
