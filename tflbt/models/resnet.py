"""Residual networks: He et al. (2016) for ImageNet and for CIFAR, and a small one for 8x8 digits.

A network is a stem, then stages of blocks, then the mean over positions and a dense layer. The first block of every
stage but the first halves the image. Each convolution is followed by batch normalisation, before the ReLU; a block's
sum comes before its last ReLU ("v1"). A block is two 3x3 convolutions, or a "bottleneck" of 1x1, 3x3 and 1x1
convolutions, which halves the image in its 3x3 convolution ("v1.5", as MLPerf, torchvision and pytorch-cifar have it;
the paper's v1 does so in the first 1x1).

The stem "imagenet" is a 7x7 convolution of stride 2 and a 3x3 max pooling of stride 2; the stem "cifar" is one 3x3
convolution, as in the versions for small images in common use, such as kuangliu's pytorch-cifar, reference 18 of
`limit-of-the-batch-size.txt`. Padding is TensorFlow's "same": at stride 2 it begins one pixel later than PyTorch's.

Shortcut "A" of the paper has no parameters: where the image halves it takes every second pixel and appends channels of
zeros. Here that is a 1x1 average pooling of stride 2 (which is `x[:, ::2, ::2]`) and a zero padding that takes channels
for a spatial dimension, so that saved models load in plain Keras. Shortcut "B" is a 1x1 convolution of the block's
stride with batch normalisation, wherever a block changes the shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tflbt import checks
from tflbt.models import parts
from tflbt.models.prepared import prepares

_LAYERS = tf.keras.layers
STEMS = ("imagenet", "cifar")


def resnet(
    blocks: Sequence[int],
    widths: Sequence[int] = (64, 128, 256, 512),
    *,
    stem: str = "imagenet",
    bottleneck: bool = False,
    shortcut: str = "B",
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
    zero_init_last_gamma: bool = False,
    name: str = "resnet",
) -> tf.keras.Model:
    """Builds a residual network; `tflbt.models.prepared` regularises it.

    Args:
        blocks: Number of blocks in each stage.
        widths: Channels of each stage's 3x3 convolutions; after a bottleneck there are four times as many. The first
            is the stem's too.
        stem: "imagenet" or "cifar".
        bottleneck: Whether blocks are bottlenecks.
        shortcut: "A" (parameter-free) or "B" (projection).
        input_shape: Height, width and channels of an image.
        classes: Number of logits, at least 1.
        zero_init_last_gamma: Whether the last normalisation of each block starts at 0, so that blocks start as the
            identity (Goyal et al. 2017, section 5.1). Keep these gammas out of layer-wise adaptation.
        name: Of the model.

    Raises:
        ValueError: If the stem or shortcut is unknown, `blocks` and `widths` differ in length, or widths decrease
            under shortcut "A".
    """
    checks.one_of("stem", stem, STEMS)
    checks.one_of("shortcut", shortcut, ("A", "B"))
    if len(blocks) != len(widths):
        raise ValueError(f"blocks={blocks!r} must have a number for each of widths={widths!r}.")
    project = _projected if shortcut == "B" else _padded
    last_gamma = "zeros" if zero_init_last_gamma else "ones"
    inputs = tf.keras.Input(tuple(input_shape), name="images")
    small = stem == "cifar"
    x = _normalised(inputs, widths[0], "stem", "stem_bn", 1 if small else 2, 3 if small else 7)
    x = parts.relu(x, "stem_relu")
    if not small:
        x = _LAYERS.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, (count, width) in enumerate(zip(blocks, widths), start=1):
        channels = 4 * width if bottleneck else width
        for block in range(1, count + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            part = f"stage{stage}_block{block}"
            skip = x
            if stride > 1 or x.shape[-1] != channels:
                skip = project(x, channels, stride, part)
            x = (_bottleneck if bottleneck else _block)(x, skip, width, stride, last_gamma, part)
    x = parts.mean_over_positions(x)
    return tf.keras.Model(inputs, parts.logits(x, classes), name=name)


def _normalised(
    x: tf.Tensor,
    channels: int,
    convolution: str,
    normalisation: str,
    stride: int = 1,
    kernel: int = 3,
    gamma: str = "ones",
) -> tf.Tensor:
    """A convolution and its normalisation."""
    x = parts.convolution(x, channels, convolution, stride, kernel)
    return parts.normalisation(x, normalisation, gamma_initializer=gamma)


def _block(
    x: tf.Tensor, skip: tf.Tensor, width: int, stride: int, last_gamma: str, name: str
) -> tf.Tensor:
    """Two 3x3 convolutions beside a shortcut, summed, then ReLU."""
    x = _normalised(x, width, f"{name}_conv1", f"{name}_bn1", stride)
    x = parts.relu(x, f"{name}_relu1")
    x = _normalised(x, width, f"{name}_conv2", f"{name}_bn2", gamma=last_gamma)
    return parts.relu(_LAYERS.Add(name=f"{name}_add")([skip, x]), f"{name}_relu2")


def _bottleneck(
    x: tf.Tensor, skip: tf.Tensor, width: int, stride: int, last_gamma: str, name: str
) -> tf.Tensor:
    """1x1, 3x3 and 1x1 convolutions beside a shortcut, to four times the width, summed, then ReLU."""
    x = _normalised(x, width, f"{name}_conv1", f"{name}_bn1", kernel=1)
    x = parts.relu(x, f"{name}_relu1")
    x = _normalised(x, width, f"{name}_conv2", f"{name}_bn2", stride)
    x = parts.relu(x, f"{name}_relu2")
    x = _normalised(x, 4 * width, f"{name}_conv3", f"{name}_bn3", kernel=1, gamma=last_gamma)
    return parts.relu(_LAYERS.Add(name=f"{name}_add")([skip, x]), f"{name}_relu3")


def _projected(x: tf.Tensor, channels: int, stride: int, name: str) -> tf.Tensor:
    """Shortcut "B"."""
    name = f"{name}_shortcut"
    return _normalised(x, channels, f"{name}_conv", f"{name}_bn", stride, kernel=1)


def _padded(x: tf.Tensor, channels: int, stride: int, name: str) -> tf.Tensor:
    """Shortcut "A", which cannot take channels away."""
    added = channels - x.shape[-1]
    if added < 0:
        raise ValueError(f"widths must not decrease with shortcut 'A', got {channels} at {name}.")
    x = _LAYERS.AveragePooling2D(1, stride, name=f"{name}_shortcut_stride")(x)
    padding = ((0, 0), (0, added))
    name = f"{name}_shortcut_pad"
    return _LAYERS.ZeroPadding2D(padding, data_format="channels_first", name=name)(x)


@prepares()
def cifar_resnet(
    depth: int = 20,
    *,
    input_shape: tuple[int | None, int | None, int] = (32, 32, 3),
    classes: int = 10,
    widths: Sequence[int] = (16, 32, 64),
    shortcut: str = "A",
    zero_init_last_gamma: bool = False,
) -> tf.keras.Model:
    """Builds the CIFAR residual network of He et al. (2016), section 4.2: n blocks in each stage.

    Trainable parameters with 10 classes and shortcut "A" (the paper's table 6 in brackets): depth 20 269,722 (0.27M),
    32 464,154 (0.46M), 44 658,586 (0.66M), 56 853,018 (0.85M), 110 1,727,962 (1.7M).

    Args:
        depth: 20, 32, 44, 56 or 110 (with s stages, 2sn + 2).
        input_shape: Height, width and channels of an image.
        classes: Number of logits, at least 1.
        widths: Channels of each stage.
        shortcut: "A" (parameter-free) or "B" (projection), where a stage halves the image.
        zero_init_last_gamma: As in `resnet`.

    Raises:
        ValueError: If the depth does not fit the stages, the shortcut is unknown or another option out of its range.

    Example:
        >>> from tflbt.models.resnet import cifar_resnet
        >>> model = cifar_resnet(20)
        >>> sum(int(tf.size(variable)) for variable in model.trainable_variables)
        269722
    """
    stages = len(widths)
    blocks, rest = divmod(depth - 2, 2 * stages)
    if rest or blocks < 1:
        known = [2 * stages * n + 2 for n in (1, 3, 5, 7, 9, 18)]
        raise ValueError(
            f"depth must be {2 * stages}n + 2 for {stages} stages, such as {known}; got {depth}."
        )
    return resnet(
        [blocks] * stages,
        widths,
        stem="cifar",
        shortcut=shortcut,
        input_shape=input_shape,
        classes=classes,
        zero_init_last_gamma=zero_init_last_gamma,
        name=f"resnet{depth}",
    )


@prepares()
def digits_resnet(
    depth: int = 8,
    *,
    input_shape: tuple[int | None, int | None, int] = (8, 8, 1),
    classes: int = 10,
    widths: Sequence[int] = (16, 32, 64),
    shortcut: str = "A",
    zero_init_last_gamma: bool = False,
) -> tf.keras.Model:
    """Builds a `cifar_resnet` small enough to train on 8x8 digits in seconds.

    With one block per stage it has 75,290 trainable parameters.

    Args:
        depth: As in `cifar_resnet`, like all that follow: 8 has one block per stage.
        input_shape: Height, width and channels of an image.
        classes: Number of logits.
        widths: Channels of each stage.
        shortcut: "A" or "B".
        zero_init_last_gamma: Whether blocks start as the identity.

    Example:
        >>> from tflbt.models.resnet import digits_resnet
        >>> digits_resnet()(tf.zeros([3, 8, 8, 1])).shape
        TensorShape([3, 10])
    """
    return cifar_resnet(
        depth,
        input_shape=input_shape,
        classes=classes,
        widths=widths,
        shortcut=shortcut,
        zero_init_last_gamma=zero_init_last_gamma,
    )


@prepares()
def resnet18(
    *,
    stem: str = "cifar",
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int | None = None,
    blocks: Sequence[int] = (2, 2, 2, 2),
    widths: Sequence[int] = (64, 128, 256, 512),
    zero_init_last_gamma: bool = False,
) -> tf.keras.Model:
    """Builds ResNet-18 (He et al. 2016, table 1), for CIFAR-100 or for ImageNet.

    Trainable parameters: 11,220,132 with stem "cifar" and 100 classes, 11,689,512 with stem "imagenet" and 1,000
    classes (as torchvision's `resnet18`).

    Args:
        stem: "cifar" or "imagenet".
        input_shape: Height, width and channels of an image; default (32, 32, 3), with stem "imagenet" (224, 224, 3).
        classes: Number of logits, at least 1; default 100, with stem "imagenet" 1,000.
        blocks: Blocks of each stage. (3, 4, 6, 3) makes ResNet-34.
        widths: Channels of each stage; the first is the stem's too.
        zero_init_last_gamma: As in `resnet`.

    Example:
        >>> from tflbt.models.resnet import resnet18
        >>> sum(int(tf.size(variable)) for variable in resnet18().trainable_variables)
        11220132
    """
    small = stem == "cifar"
    return resnet(
        blocks,
        widths,
        stem=stem,
        input_shape=input_shape or ((32, 32, 3) if small else (224, 224, 3)),
        classes=classes or (100 if small else 1000),
        zero_init_last_gamma=zero_init_last_gamma,
        name="resnet18",
    )


@prepares()
def resnet50(
    *,
    stem: str = "imagenet",
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int | None = None,
    blocks: Sequence[int] = (3, 4, 6, 3),
    widths: Sequence[int] = (64, 128, 256, 512),
    zero_init_last_gamma: bool = False,
) -> tf.keras.Model:
    """Builds ResNet-50 v1.5 for ImageNet, or its form for small images.

    Trainable parameters: 25,557,032 with stem "imagenet" and 1,000 classes (as torchvision's `resnet50`),
    23,520,842 with stem "cifar" and 10 classes (as pytorch-cifar's `ResNet50`).

    Args:
        stem: "imagenet" or "cifar".
        input_shape: Height, width and channels of an image; default (224, 224, 3), with stem "cifar" (32, 32, 3).
        classes: Number of logits, at least 1; default 1,000, with stem "cifar" 10.
        blocks: Blocks of each stage. (3, 4, 23, 3) makes ResNet-101.
        widths: Channels of each stage's 3x3 convolutions; the first is the stem's too.
        zero_init_last_gamma: As in `resnet`.

    Example:
        >>> from tflbt.models.resnet import resnet50
        >>> model = resnet50(stem="cifar")
        >>> sum(int(tf.size(variable)) for variable in model.trainable_variables)
        23520842
    """
    small = stem == "cifar"
    return resnet(
        blocks,
        widths,
        stem=stem,
        bottleneck=True,
        input_shape=input_shape or ((32, 32, 3) if small else (224, 224, 3)),
        classes=classes or (10 if small else 1000),
        zero_init_last_gamma=zero_init_last_gamma,
        name="resnet50",
    )
