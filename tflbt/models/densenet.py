"""DenseNet for small images: Huang et al. (2017), with bottlenecks and compression (DenseNet-BC) or without.

A 3x3 convolution, three dense blocks with a transition between them, then batch normalisation, ReLU, the mean over
positions and a dense layer. Every layer of a block reads the outputs of all before it, joined along the channels, and
adds k more, the growth rate: normalisation, ReLU and a 3x3 convolution, before which a bottleneck has normalisation,
ReLU and a 1x1 convolution to 4k channels. A transition is normalisation, ReLU, a 1x1 convolution to the share
`compression` of the channels, and 2x2 average pooling. The depth counts the weighted layers.

Convolutions start as in the authors' code: normal, of variance 2 / (kernel positions x outputs); the logits' kernel as
PyTorch's, with biases 0.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.models import parts
from tflbt.models.initialisation import initialisers
from tflbt.models.prepared import prepares

_LAYERS = tf.keras.layers
_STAGES = 3
_BOTTLENECK = 4  # channels inside a bottleneck, in growth rates


@prepares()
def densenet(
    depth: Any = 100,
    growth_rate: int = 12,
    *,
    bottleneck: bool = True,
    compression: float = 0.5,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    dropout: float = 0.0,
) -> tf.keras.Model:
    """Builds DenseNet-BC-depth-growth_rate, or a plain DenseNet with `bottleneck=False, compression=1.0`.

    Trainable parameters with 10 classes (the paper's table 2 in brackets, in millions): BC 100-12 769,162 (0.8), BC
    250-24 15,324,406 (15.3), plain 40-12 1,019,722 (1.0), plain 100-12 6,979,642 (7.0). "DenseNet100-12" of
    `batch-augmentation.txt` has the 77.73% on CIFAR-100 that the paper's table 2 gives for BC 100-12 (an error of
    22.27%), so that is the default.

    Args:
        depth: 6n + 4 with bottlenecks, else 3n + 4, for n layers a block.
        growth_rate: k >= 1, the channels that a layer adds.
        bottleneck: Whether each layer has a 1x1 convolution before its 3x3 one (the "B").
        compression: Share of the channels that a transition keeps, 0 < compression <= 1 (less than 1: the "C").
        input_shape: Height, width and channels of an image, at least 4 pixels high and wide.
        classes: Number of logits, at least 1.
        dropout: Share of values dropped in training after each convolution but the first, 0 <= dropout < 1; the paper
            has 0.2 where data are not augmented, else 0.

    Raises:
        ValueError: If the depth does not fit, or another argument is out of its range.

    Example:
        >>> from tflbt.models.densenet import densenet
        >>> model = densenet(10, 4)
        >>> sum(int(tf.size(variable)) for variable in model.trainable_variables)
        2666
    """
    layers = _layers_per_block(depth, bottleneck)
    if min(input_shape[:2]) < 4:
        raise ValueError(f"input_shape={input_shape!r} must be at least 4 pixels high and wide.")
    checks.whole("growth_rate", growth_rate, at_least=1)
    checks.number("compression", compression, more_than=0, at_most=1)
    checks.number("dropout", dropout, at_least=0, less_than=1)
    inputs = tf.keras.Input(tuple(input_shape), name="images")
    x = _convolution(inputs, 2 * growth_rate if bottleneck else 16, 3, "stem")
    for stage in range(1, _STAGES + 1):
        for layer in range(1, layers + 1):
            name, new = f"stage{stage}_layer{layer}", x
            if bottleneck:
                new = _activated(new, _BOTTLENECK * growth_rate, 1, dropout, f"{name}_bottleneck")
            new = _activated(new, growth_rate, 3, dropout, name)
            x = _LAYERS.Concatenate(name=f"{name}_join")([x, new])
        if stage < _STAGES:
            name = f"transition{stage}"
            x = _activated(x, int(compression * x.shape[-1]), 1, dropout, name)
            x = _LAYERS.AveragePooling2D(2, name=f"{name}_pool")(x)
    x = parts.mean_over_positions(parts.relu(parts.normalisation(x, "last_bn"), "last_relu"))
    kernel = initialisers("pytorch", x.shape[-1])["kernel_initializer"]
    logits = parts.logits(x, classes, kernel_initializer=kernel)
    return tf.keras.Model(inputs, logits, name=f"densenet{depth}_{growth_rate}")


def _convolution(x: tf.Tensor, channels: int, kernel: int, name: str) -> tf.Tensor:
    """A convolution without bias."""
    start = tf.keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return parts.convolution(x, channels, name, kernel=kernel, kernel_initializer=start)


def _activated(x: tf.Tensor, channels: int, kernel: int, dropout: float, name: str) -> tf.Tensor:
    """Normalisation, ReLU, convolution, dropout."""
    x = parts.relu(parts.normalisation(x, f"{name}_bn"), f"{name}_relu")
    x = _convolution(x, channels, kernel, f"{name}_conv")
    return _LAYERS.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def _layers_per_block(depth: Any, bottleneck: bool) -> int:
    """How many layers a block has; the first convolution, two transitions and the dense layer are not in blocks."""
    step = _STAGES * (2 if bottleneck else 1)
    layers, rest = divmod(depth - 4, step) if checks.is_number(depth) else (0, 0)
    if rest or not 1 <= layers <= checks.LARGEST:
        known = ", ".join(str(step * n + 4) for n in (1, 2, 6, 12, 16))
        raise ValueError(f"depth={depth!r} must be {step}n + 4, such as {known}.")
    return layers
