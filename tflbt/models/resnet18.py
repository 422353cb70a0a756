"""ResNet-18 for CIFAR-100, and its form for ImageNet.

A stem, then 2 + 2 + 2 + 2 blocks of two 3x3 convolutions in four stages, then the mean over positions and a dense
layer: 18 weighted layers (He et al. 2016, table 1). The first block of every stage but the first halves the image;
there the shortcut is a 1x1 convolution with batch normalisation (option "B" of the paper). The stems and the padding
are those of `tflbt.models.resnet50`: "cifar", one 3x3 convolution without pooling, as in the versions for CIFAR in use
(the paper has none), and "imagenet", a 7x7 convolution and a max pooling, each of stride 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tflbt.models.residual_blocks import ResidualBlocks
from tflbt.models.resnet50 import STEMS

_LAYERS = tf.keras.layers


def resnet18(
    *,
    stem: str = "cifar",
    input_shape: Sequence[int] | None = None,
    classes: int | None = None,
    blocks: Sequence[int] = (2, 2, 2, 2),
    widths: Sequence[int] = (64, 128, 256, 512),
    weight_decay: float = 0.0,
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-5,
    ghost_batch_size: int | None = None,
    zero_init_last_gamma: bool = False,
) -> tf.keras.Model:
    """Builds ResNet-18.

    Trainable parameters: 11,220,132 with stem "cifar" and 100 classes, 11,689,512 with stem "imagenet" and 1,000
    classes (as torchvision's `resnet18`).

    Args:
        stem: "cifar" or "imagenet".
        input_shape: Height, width and channels of an image; default (32, 32, 3), with stem "imagenet" (224, 224, 3).
        classes: Number of logits, at least 1; default 100, with stem "imagenet" 1,000.
        blocks: Blocks of each stage. (3, 4, 6, 3) makes ResNet-34.
        widths: Channels of each stage; the first is the stem's too.
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
        >>> from tflbt.models.resnet18 import resnet18
        >>> sum(int(tf.size(variable)) for variable in resnet18().trainable_variables)
        11220132
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
            x = build.block(x, width, stride, f"stage{stage}_block{block}")
    x = _LAYERS.GlobalAveragePooling2D(name="mean_over_positions")(x)
    logits = build.logits(x, classes or (100 if small else 1000))
    return tf.keras.Model(inputs, logits, name="resnet18")
