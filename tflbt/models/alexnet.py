"""AlexNet of one tower ("one weird trick", Krizhevsky 2014), for CIFAR-10 and for ImageNet, with or without batch norm.

Five convolutions with max pooling after the first, the second and the fifth, two dense layers and the logits. There is
no local response normalisation, as in the version that PyTorch made common. Padding is PyTorch's, to the pixel.

`batch_norm=True` is `AlexNetOWT_BN` of convNet.pytorch, the code of the first author of `batch-augmentation.txt`: no
bias but the logits', normalisation before the ReLU in the first convolution and in the dense layers and after it in
the others. That is the "AlexNet" taken here for the paper's table 1; the AlexNet-BN of You et al. (2017), in its table
2, is Caffe's network in two groups with normalisation in place of the local response's, which is not here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tflbt import checks
from tflbt.models import parts
from tflbt.models.initialisation import initialisers
from tflbt.models.prepared import prepares

_LAYERS = tf.keras.layers
_POOLED = (1, 2, 5)  # convolutions that a max pooling of stride 2 follows


@dataclasses.dataclass(frozen=True)
class _Form:
    """What the two forms differ in."""

    side: int  # pixels of an image
    classes: int
    kernels: tuple[int, ...]  # sides of the convolutions' kernels
    stride: int  # of the first convolution
    padding: int  # of the first convolution, before and after the image
    pool: int  # side of the pooling windows

    def last_side(self, side: int) -> int:
        """Pixels along the last pooling's output, for an image of so many."""
        side = (side + 2 * self.padding - self.kernels[0]) // self.stride + 1
        for _ in _POOLED:
            side = (side - self.pool) // 2 + 1
        return side


FORMS = {
    "cifar": _Form(32, 10, (3, 3, 3, 3, 3), 2, 1, 2),
    "imagenet": _Form(224, 1000, (11, 5, 3, 3, 3), 4, 2, 3),
}


@prepares()
def alexnet(
    *,
    form: str = "cifar",
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    filters: Sequence[int] = (64, 192, 384, 256, 256),
    units: Sequence[int] = (4096, 4096),
    dropout: float = 0.5,
    batch_norm: bool = False,
    initialisation: str = "pytorch",
) -> tf.keras.Model:
    """Builds AlexNet.

    Form "cifar" is the adaptation to 32x32 images in common use with PyTorch (torchvision's layers with 3x3 kernels,
    stride 2 in the first convolution and 2x2 pooling): 23,272,266 trainable parameters. `curvature-radius.txt` trains
    "AlexNet" on CIFAR-10 in PyTorch and says no more of it than that it has two fully connected layers.
    Form "imagenet" is torchvision's `alexnet`, with its 61,100,840 parameters. `batch_norm` makes them 23,281,610
    and 61,110,184.

    Args:
        form: "cifar" or "imagenet".
        input_shape: Height, width and channels of an image; default (32, 32, 3), with form "imagenet" (224, 224, 3).
        classes: Number of logits, at least 1; default 10, with form "imagenet" 1,000.
        filters: Channels of the five convolutions.
        units: Widths of the hidden dense layers.
        dropout: Share of values dropped in training, 0 <= dropout < 1: before each hidden dense layer, and with
            `batch_norm` after each, as in the two sources.
        batch_norm: Whether activations are normalised, as above; kernels then have no bias.
        initialisation: "pytorch", as in the sources, or the name of a Keras initialiser
            (`tflbt.models.initialisation`). PyTorch's without `batch_norm` begins late: on CIFAR-10 the loss left
            log 10 after some 200 updates of 128 images at learning rate 0.01 and momentum 0.9.

    Raises:
        ValueError: If the form is unknown, there are not five filters, the image is too small for the poolings, the
            dropout is out of its range, or ghosts have nothing to normalise.

    Example:
        >>> from tflbt.models.alexnet import alexnet
        >>> alexnet(input_shape=(16, 16, 3), units=(8, 8)).count_params()
        2253802
    """
    checks.one_of("form", form, FORMS)
    shape = FORMS[form]
    image = tuple(input_shape or (shape.side, shape.side, 3))
    _check(shape, image, filters)
    checks.number("dropout", dropout, at_least=0, less_than=1)
    x = inputs = tf.keras.Input(image, name="images")
    x = _LAYERS.ZeroPadding2D(shape.padding, name="pad")(x)
    for number, (channels, kernel) in enumerate(zip(filters, shape.kernels), start=1):
        first = number == 1  # it has a stride, and its padding went before it
        stride, padding = (shape.stride, "valid") if first else (1, "same")
        options = {"use_bias": not batch_norm, "name": f"conv{number}"}
        options.update(initialisers(initialisation, kernel**2 * x.shape[-1]))
        x = _LAYERS.Conv2D(channels, kernel, stride, padding, **options)(x)
        if number in _POOLED:  # a ReLU may as well come after it, on fewer values
            x = _LAYERS.MaxPooling2D(shape.pool, 2, name=f"pool{number}")(x)
        if batch_norm and first:
            x = parts.normalisation(x, "bn1")
        x = parts.relu(x, f"relu{number}")
        if batch_norm and not first:
            x = parts.normalisation(x, f"bn{number}")
    x = _LAYERS.Flatten(name="flatten")(x)
    for number, width in enumerate(units, start=1):
        if dropout and not batch_norm:
            x = _LAYERS.Dropout(dropout, name=f"dropout{number}")(x)
        start = initialisers(initialisation, x.shape[-1])
        x = _LAYERS.Dense(width, use_bias=not batch_norm, name=f"dense{number}", **start)(x)
        if batch_norm:
            x = parts.normalisation(x, f"dense{number}_bn")
        x = parts.relu(x, f"dense{number}_relu")
        if dropout and batch_norm:
            x = _LAYERS.Dropout(dropout, name=f"dropout{number}")(x)
    start = initialisers(initialisation, x.shape[-1])
    logits = parts.logits(x, classes or shape.classes, **start)
    return tf.keras.Model(inputs, logits, name=f"alexnet_{form}{'_bn' if batch_norm else ''}")


def _check(shape: _Form, image: tuple[int, ...], filters: Sequence[int]) -> None:
    if len(filters) != len(shape.kernels):
        raise ValueError(f"filters={filters!r} must be {len(shape.kernels)} numbers.")
    if min(map(shape.last_side, image[:2])) < 1:
        least = next(side for side in range(1, 500) if shape.last_side(side) == 1)
        raise ValueError(f"input_shape={image!r} must be at least {least} pixels high and wide.")
