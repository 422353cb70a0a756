"""Residual networks for small images: He et al. (2016), section 4.2, and one for 8x8 digits.

A network is a 3x3 convolution, then stages of n blocks (two 3x3 convolutions each), then the mean
over positions and a dense layer: depth = 2 * n * stages + 2. The first block of every stage but the
first halves the image. Each convolution is followed by batch normalisation, before the ReLU; the
block's sum comes before its last ReLU ("v1"). `ghost_batch_size` chooses over how many samples it
normalises.

Shortcut "A" of the paper has no parameters: where the image halves it takes every second pixel and
appends channels of zeros. Here that is a 1x1 average pooling of stride 2 (which is ``x[:, ::2,
::2]``) and a zero padding told that channels are a spatial dimension, so that saved models load in
plain Keras. Shortcut "B" is a 1x1 convolution of stride 2 with batch normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tflbt.models.residual_blocks import ResidualBlocks

_LAYERS = tf.keras.layers


def cifar_resnet(
    depth: int = 20,
    *,
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    widths: Sequence[int] = (16, 32, 64),
    shortcut: str = "A",
    weight_decay: float = 0.0,
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-5,
    ghost_batch_size: int | None = None,
    zero_init_last_gamma: bool = False,
) -> tf.keras.Model:
    """Builds the CIFAR residual network of He et al. (2016), section 4.2.

    Trainable parameters with 10 classes and shortcut "A" (the paper's table 6 in brackets): depth
    20 269,722 (0.27M), 32 464,154 (0.46M), 44 658,586 (0.66M), 56 853,018 (0.85M), 110 1,727,962
    (1.7M).

    Args:
        depth: 20, 32, 44, 56 or 110 (any 6n + 2 with the default three stages).
        input_shape: Height, width and channels of an image.
        classes: Number of logits, at least 1.
        widths: Channels of each stage.
        shortcut: "A" (parameter-free) or "B" (projection), where a stage halves the image.
        weight_decay: b >= 0 of an L2 loss ``b/2 * |w|^2`` on convolution and dense kernels, whose
            gradient is ``b * w`` (Keras's ``l2(c)`` is ``c * |w|^2``, so c = b/2). 0 when the
            optimizer decays weights.
        bn_momentum: Share of a moving statistic kept per sub-batch, 0 .. 1. 0.9 as in the authors'
            code; Keras's 0.99 lags some hundred sub-batches, which large batches make many epochs.
        bn_epsilon: Added to the variance. 1e-5 as in the authors' code; Keras's own is 1e-3.
        ghost_batch_size: Samples that are normalised together in training, at least 1: the batch is
            cut into ghosts of so many (`tflbt.models.GhostBatchNormalization`), and a moving
            statistic moves once per ghost. Train on multiples of it. Default None: the whole
            sub-batch together.
        zero_init_last_gamma: Whether the last normalisation of each block starts at 0, so that
            blocks start as the identity (Goyal et al. 2017, section 5.1). Keep these gammas out of
            layer-wise adaptation.

    Returns:
        A functional model from images to logits ``[n, classes]``, float32 under mixed precision
        too.

    Raises:
        ValueError: If the depth does not fit the stages, the shortcut is unknown, or the ghost
            batch size is no positive integer.

    Example:
        >>> from tflbt.models.resnet import cifar_resnet
        >>> model = cifar_resnet(20)
        >>> sum(int(tf.size(variable)) for variable in model.trainable_variables)
        269722
    """
    stages = len(widths)
    blocks, left = divmod(depth - 2, 2 * stages)
    if left or blocks < 1:
        known = [2 * stages * n + 2 for n in (1, 3, 5, 7, 9, 18)]
        raise ValueError(
            f"depth must be {2 * stages}n + 2 for {stages} stages, such as {known}; got {depth}."
        )
    if shortcut not in ("A", "B"):
        raise ValueError(f"shortcut must be 'A' or 'B', got {shortcut!r}.")
    build = ResidualBlocks(
        shortcut, weight_decay, bn_momentum, bn_epsilon, ghost_batch_size, zero_init_last_gamma
    )
    inputs = tf.keras.Input(tuple(input_shape), name="images")
    x = build.convolution(inputs, widths[0], "stem")
    x = _LAYERS.ReLU(name="stem_relu")(build.normalisation(x, "stem_bn"))
    for stage, width in enumerate(widths, start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = build.block(x, width, stride, f"stage{stage}_block{block}")
    x = _LAYERS.GlobalAveragePooling2D(name="mean_over_positions")(x)
    return tf.keras.Model(inputs, build.logits(x, classes), name=f"resnet{depth}")


def digits_resnet(
    depth: int = 8,
    *,
    input_shape: Sequence[int] = (8, 8, 1),
    classes: int = 10,
    widths: Sequence[int] = (16, 32, 64),
    shortcut: str = "A",
    weight_decay: float = 0.0,
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-5,
    ghost_batch_size: int | None = None,
    zero_init_last_gamma: bool = False,
) -> tf.keras.Model:
    """Builds a residual network small enough to train on 8x8 digits in seconds.

    The same network as `cifar_resnet` with one block a stage: 75,290 trainable parameters.

    Args:
        depth: ``2 * len(widths) * n + 2`` for n blocks a stage.
        input_shape: Height, width and channels of an image.
        classes: Number of logits.
        widths: Channels of each stage; every stage after the first halves the image.
        shortcut: As in `cifar_resnet`, like all that follow.
        weight_decay: Of an L2 loss on the kernels.
        bn_momentum: Of the moving statistics.
        bn_epsilon: Added to the variance.
        ghost_batch_size: Samples that are normalised together; None: the whole sub-batch.
        zero_init_last_gamma: Whether blocks start as the identity.

    Returns:
        A functional model from images to float32 logits ``[n, classes]``.

    Raises:
        ValueError: As `cifar_resnet`.

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
        weight_decay=weight_decay,
        bn_momentum=bn_momentum,
        bn_epsilon=bn_epsilon,
        ghost_batch_size=ghost_batch_size,
        zero_init_last_gamma=zero_init_last_gamma,
    )
