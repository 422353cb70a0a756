"""ResNet-50 v1.5 for ImageNet, and its form for small images.

A stem, then 3 + 4 + 6 + 3 blocks of 1x1, 3x3 and 1x1 convolutions in four stages, then the mean over positions and
a dense layer: 50 weighted layers (He et al. 2016, table 1). The first block of every stage but the first halves
the image, in its 3x3 convolution ("v1.5", as MLPerf and torchvision have it; the paper's v1 does so in the first
1x1). Where a block changes the shape, its shortcut is a 1x1 convolution (option "B" of the paper). Each convolution
is followed by batch normalisation.

The stem "imagenet" is a 7x7 convolution of stride 2 and a 3x3 max pooling of stride 2; the stem "cifar" one 3x3
convolution, as in kuangliu's pytorch-cifar, reference 18 of `limit-of-the-batch-size.txt` (whose "ResNet-50 v1"
halves in the 3x3 convolution too). Padding is TensorFlow's "same": at stride 2 it begins a pixel later than
PyTorch's.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tflbt.models.residual_blocks import ResidualBlocks

_LAYERS = tf.keras.layers
STEMS = ("imagenet", "cifar")


def resnet50(
    *,
    stem: str = "imagenet",
    input_shape: Sequence[int] | None = None,
    classes: int | None = None,
    blocks: Sequence[int] = (3, 4, 6, 3),
    widths: Sequence[int] = (64, 128, 256, 512),
    weight_decay: float = 0.0,
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-5,
    ghost_batch_size: int | None = None,
    zero_init_last_gamma: bool = False,
) -> tf.keras.Model:
    """Builds ResNet-50 v1.5.

    Trainable parameters: 25,557,032 with stem "imagenet" and 1,000 classes (as torchvision's `resnet50`),
    23,520,842 with stem "cifar" and 10 classes (as pytorch-cifar's `ResNet50`).

    Args:
        stem: "imagenet" or "cifar".
        input_shape: Height, width and channels of an image; default (224, 224, 3), with stem "cifar" (32, 32, 3).
        classes: Number of logits, at least 1; default 1,000, with stem "cifar" 10.
        blocks: Blocks of each stage. (3, 4, 23, 3) makes ResNet-101.
        widths: Channels of each stage's 3x3 convolutions; a stage's output has four times as many. The first is
            the stem's too.
        weight_decay: b >= 0 of an L2 loss ``b/2 * |w|^2`` on convolution and dense kernels; 0 when the
            optimizer decays weights.
        bn_momentum: Share of a moving statistic kept per ghost (or sub-batch), 0 .. 1.
        bn_epsilon: Added to the variance.
        ghost_batch_size: Samples that are normalised together in training, at least 1
            (`tflbt.models.GhostBatchNormalization`); None: the whole sub-batch.
        zero_init_last_gamma: Whether the last normalisation of each block starts at 0, so that blocks start as the
            identity (Goyal et al. 2017, section 5.1). Keep these gammas out of layer-wise adaptation.

    Returns:
        A functional model from images to logits ``[n, classes]``, float32 under mixed precision too.

    Raises:
        ValueError: If the stem is unknown, or `blocks` and `widths` differ in length.

    Example:
        >>> from tflbt.models.resnet50 import resnet50
        >>> model = resnet50(stem="cifar")
        >>> sum(int(tf.size(variable)) for variable in model.trainable_variables)
        23520842
    """
    if stem not in STEMS:
        raise ValueError(f"stem={stem!r} must be one of {', '.join(STEMS)}.")
    if len(blocks) != len(widths):
        raise ValueError(f"blocks={blocks!r} must have a number for each of widths={widths!r}.")
    small = stem == "cifar"
    build = ResidualBlocks(
        "B", weight_decay, bn_momentum, bn_epsilon, ghost_batch_size, zero_init_last_gamma
    )
    inputs = tf.keras.Input(input_shape or ((32, 32, 3) if small else (224, 224, 3)), name="images")
    x = build.convolution(
        inputs, widths[0], "stem", stride=1 if small else 2, kernel=3 if small else 7
    )
    x = _LAYERS.ReLU(name="stem_relu")(build.normalisation(x, "stem_bn"))
    if not small:
        x = _LAYERS.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, (count, width) in enumerate(zip(blocks, widths), start=1):
        for block in range(1, count + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = build.bottleneck(x, width, stride, f"stage{stage}_block{block}")
    x = _LAYERS.GlobalAveragePooling2D(name="mean_over_positions")(x)
    logits = build.logits(x, classes or (10 if small else 1000))
    return tf.keras.Model(inputs, logits, name="resnet50")
