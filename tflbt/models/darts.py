"""The CIFAR network of DARTS: Liu, Simonyan and Yang (2018), the cells that their search found ("DARTS_V2").

A 3x3 convolution to three times the channels, then cells, the mean over positions and a dense layer. Two cells, after
a third and two thirds of them, halve the image and double the channels. A cell takes what the two cells before it gave,
each through ReLU, a 1x1 convolution and batch normalisation (where they are of two sizes the larger is halved on the
way), adds four nodes, each the sum of two operations on what there is so far, and gives the four side by side.

The operations: "sep", twice ReLU, a separable 3x3 convolution and batch normalisation; "dil", once, its pixels two
apart; "pool", 3x3 by the maximum; and "skip", nothing. Operations but the last are dropped in training for a whole
sample at a time ("drop path").

Sizes are those of github.com/quark0/darts, and so are the initial weights, PyTorch's own, but for the logits'. Two of
its parts are left out: drop path there grows in proportion to the epoch, to 0.2 at the end, and here it is the same
always; and an auxiliary head after the second halving, whose loss counts 0.4, would need a second output in training.
"""

from __future__ import annotations

import tensorflow as tf

from tflbt import checks
from tflbt.models import parts
from tflbt.models.prepared import prepares

_LAYERS = tf.keras.layers
# Two operations a node, each with the state it acts on: 0 and 1 are the cell's inputs, 2 its first node.
NORMAL = "sep 0, sep 1, sep 0, sep 1, sep 1, skip 0, skip 0, dil 2"
REDUCTION = "pool 0, pool 1, skip 2, pool 1, pool 0, skip 2, skip 2, pool 1"
_STEM = 3  # times the channels


@prepares()
def darts(
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    cells: int = 20,
    channels: int = 36,
    drop_path: float = 0.2,
) -> tf.keras.Model:
    """Builds the network that the authors train on CIFAR-10.

    3,349,342 trainable parameters by default; the authors' README gives 3.349M (the paper 3.3M), without the auxiliary
    head. Their max pooling pads one pixel before the image; TensorFlow's "same" here pads one after it: the same
    network of images (and kernels) turned by 180 degrees.

    Args:
        input_shape: Height, width and channels of an image; the sides are multiples of 4.
        classes: Number of logits, at least 1.
        cells: Number of cells, at least 2.
        channels: Of a node before the first halving, at least 1.
        drop_path: Share of a sample's operations dropped in training, 0 <= drop_path < 1; the others are divided by
            `1 - drop_path`.

    Raises:
        ValueError: If a number is out of its range, or the image cannot be halved twice.

    Example:
        >>> from tflbt.models.darts import darts
        >>> darts(cells=3, channels=4, input_shape=(8, 8, 3)).get_layer("cell3_join").output.shape
        TensorShape([None, 2, 2, 64])
    """
    checks.whole("cells", cells, at_least=2)
    checks.whole("channels", channels, at_least=1)
    checks.number("drop_path", drop_path, at_least=0, less_than=1)
    if any(side % 4 for side in input_shape[:2]):
        raise ValueError(f"input_shape={tuple(input_shape)!r} must have sides of multiples of 4.")
    inputs = tf.keras.Input(tuple(input_shape), name="images")
    stem = _convolution(inputs, _STEM * channels, "stem", kernel=3)
    older = newer = parts.normalisation(stem, "stem_bn")
    for cell in range(cells):
        halves = cell in (cells // 3, 2 * cells // 3)
        channels *= 2 if halves else 1
        older, newer = newer, _cell(older, newer, channels, halves, drop_path, f"cell{cell + 1}")
    logits = parts.logits(parts.mean_over_positions(newer), classes)
    return tf.keras.Model(inputs, logits, name=f"darts{cells}")


def _cell(
    older: tf.Tensor, newer: tf.Tensor, channels: int, halves: bool, drop_path: float, name: str
) -> tf.Tensor:
    """Four nodes, side by side, made of what the two cells before gave."""
    enter = _enter if older.shape[1] == newer.shape[1] else _enter_halved
    states = [enter(older, channels, f"{name}_in0"), _enter(newer, channels, f"{name}_in1")]
    operations = [step.split() for step in (REDUCTION if halves else NORMAL).split(", ")]
    for node, pair in enumerate(zip(operations[::2], operations[1::2]), start=2):
        ends = []
        for side, (operation, state) in zip("ab", pair):
            stride = 2 if halves and int(state) < 2 else 1
            part = f"{name}_{node}{side}"
            x = _OPERATIONS[operation](states[int(state)], stride, part)
            if drop_path and operation != "skip":
                x = _LAYERS.Dropout(drop_path, (None, 1, 1, 1), name=f"{part}_drop")(x)
            ends.append(x)
        states.append(_LAYERS.Add(name=f"{name}_{node}")(ends))
    return _LAYERS.Concatenate(name=f"{name}_join")(states[2:])


def _convolution(
    x: tf.Tensor, channels: int, name: str, stride: int = 1, kernel: int = 1
) -> tf.Tensor:
    """A convolution without bias."""
    start = _of_pytorch()
    return parts.convolution(x, channels, f"{name}_conv", stride, kernel, kernel_initializer=start)


def _enter(x: tf.Tensor, channels: int, name: str) -> tf.Tensor:
    """ReLU, convolution and normalisation of a cell's input."""
    x = _convolution(parts.relu(x, f"{name}_relu"), channels, name)
    return parts.normalisation(x, f"{name}_bn")


def _enter_halved(x: tf.Tensor, channels: int, name: str) -> tf.Tensor:
    """Half the channels see the pixels of even rows and columns, the others those of odd ones."""
    x = parts.relu(x, f"{name}_relu")
    odd = _LAYERS.Cropping2D(((1, 0), (1, 0)), name=f"{name}_odd")(x)
    halves = [
        _convolution(pixels, channels // 2, f"{name}_{which}", stride=2)
        for which, pixels in (("even", x), ("odd", odd))
    ]
    x = _LAYERS.Concatenate(name=f"{name}_join")(halves)
    return parts.normalisation(x, f"{name}_bn")


def _skip(x: tf.Tensor, stride: int, name: str) -> tf.Tensor:
    del stride, name  # neither cell has one that halves
    return x


def _pool(x: tf.Tensor, stride: int, name: str) -> tf.Tensor:
    return _LAYERS.MaxPooling2D(3, stride, padding="same", name=f"{name}_pool")(x)


def _sep(x: tf.Tensor, stride: int, name: str) -> tf.Tensor:
    return _separable(_separable(x, stride, 1, f"{name}1"), 1, 1, f"{name}2")


def _dil(x: tf.Tensor, stride: int, name: str) -> tf.Tensor:
    return _separable(x, stride, 2, name)


def _separable(x: tf.Tensor, stride: int, dilation: int, name: str) -> tf.Tensor:
    """ReLU, separable convolution and normalisation."""
    x = _LAYERS.SeparableConv2D(
        x.shape[-1],
        3,
        strides=stride,
        padding="same",
        dilation_rate=dilation,
        use_bias=False,
        # PyTorch counts the 9 weights that a channel sees; Keras would count all channels'.
        depthwise_initializer=tf.keras.initializers.RandomUniform(-1 / 3, 1 / 3),
        pointwise_initializer=_of_pytorch(),
        name=f"{name}_conv",
    )(parts.relu(x, f"{name}_relu"))
    return parts.normalisation(x, f"{name}_bn")


def _of_pytorch() -> tf.keras.initializers.Initializer:
    """Uniform in `+-1 / sqrt(fan_in)`."""
    return tf.keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


_OPERATIONS = {"sep": _sep, "dil": _dil, "pool": _pool, "skip": _skip}
