"""VGG-16 for small images: Simonyan and Zisserman (2014), configuration D, with batch normalisation.

Thirteen 3x3 convolutions in five stages, a 2x2 max pooling after each stage, and dense layers: a 32x32 image ends as
one position of 512 channels. Each convolution has a bias, which the normalisation after it makes idle, and starts as
PyTorch's layers do, in both networks that this one can be:

- without hidden dense layers (the default), the `VGG16` of kuangliu's pytorch-cifar;
- with `units=(4096, 4096), dropout=0.5`, the CIFAR form of convNet.pytorch, the code of the first author of
  `batch-augmentation.txt`: taken to be the "VGG" of that paper's table 1, which gives no layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tflbt import checks
from tflbt.models import parts
from tflbt.models.initialisation import initialisers
from tflbt.models.prepared import prepares

_LAYERS = tf.keras.layers


@prepares()
def vgg16(
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    blocks: Sequence[int] = (2, 2, 3, 3, 3),
    widths: Sequence[int] = (64, 128, 256, 512, 512),
    units: Sequence[int] = (),
    dropout: float = 0.0,
    batch_norm: bool = True,
    initialisation: str = "pytorch",
) -> tf.keras.Model:
    """Builds VGG-16.

    Trainable parameters with 10 classes: 14,728,266 (as pytorch-cifar's `VGG16`), with `units=(4096, 4096)`
    33,646,666 (as convNet.pytorch's). ImageNet's original is `batch_norm=False, units=(4096, 4096), dropout=0.5,
    input_shape=(224, 224, 3), classes=1000`: 138,357,544, as torchvision's `vgg16`.

    Args:
        input_shape: Height, width and channels of an image; sides of at least `2 ** len(blocks)` pixels.
        classes: Number of logits, at least 1.
        blocks: Convolutions of each stage. (1, 1, 2, 2, 2) makes VGG-11, (2, 2, 4, 4, 4) VGG-19.
        widths: Channels of each stage.
        units: Widths of the hidden dense layers, which have a ReLU and no normalisation.
        dropout: Share of units dropped in training after each hidden dense layer, 0 <= dropout < 1.
        batch_norm: Whether each convolution is followed by batch normalisation, before its ReLU.
        initialisation: "pytorch", as in both sources, or the name of a Keras initialiser
            (`tflbt.models.initialisation`), such as "he_normal" without `batch_norm`: PyTorch's layers shrink what
            passes them.

    Raises:
        ValueError: If `blocks` and `widths` differ in length, the image is too small for the poolings, or the
            dropout is out of its range.

    Example:
        >>> from tflbt.models.vgg import vgg16
        >>> model = vgg16()
        >>> sum(int(tf.size(variable)) for variable in model.trainable_variables)
        14728266
    """
    if len(blocks) != len(widths):
        raise ValueError(f"blocks={blocks!r} must have a number for each of widths={widths!r}.")
    least = 2 ** len(blocks)
    if min(input_shape[:2]) < least:
        raise ValueError(
            f"input_shape={input_shape!r} must be at least {least} pixels high and wide."
        )
    checks.number("dropout", dropout, at_least=0, less_than=1)
    inputs = x = tf.keras.Input(tuple(input_shape), name="images")
    for stage, (count, width) in enumerate(zip(blocks, widths), start=1):
        for number in range(1, count + 1):
            start = initialisers(initialisation, 9 * x.shape[-1])
            name = f"stage{stage}_conv{number}"
            x = _LAYERS.Conv2D(width, 3, padding="same", name=name, **start)(x)
            if batch_norm:
                x = parts.normalisation(x, f"stage{stage}_bn{number}")
            x = parts.relu(x, f"stage{stage}_relu{number}")
        x = _LAYERS.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
    x = _LAYERS.Flatten(name="flatten")(x)
    for number, width in enumerate(units, start=1):
        start = initialisers(initialisation, x.shape[-1])
        x = _LAYERS.Dense(width, activation="relu", name=f"dense{number}", **start)(x)
        if dropout:
            x = _LAYERS.Dropout(dropout, name=f"dropout{number}")(x)
    logits = parts.logits(x, classes, **initialisers(initialisation, x.shape[-1]))
    return tf.keras.Model(inputs, logits, name="vgg16")
