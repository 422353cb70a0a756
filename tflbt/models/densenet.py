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

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tflbt.models.initialisation import initialisers
from tflbt.models.residual_blocks import ResidualBlocks

_LAYERS = tf.keras.layers
_STAGES = 3
_BOTTLENECK = 4  # channels inside a bottleneck, in growth rates


def densenet(
    depth: int = 100,
    growth_rate: int = 12,
    *,
    bottleneck: bool = True,
    compression: float = 0.5,
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    dropout: float = 0.0,
    weight_decay: float = 0.0,
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-5,
    ghost_batch_size: int | None = None,
) -> tf.keras.Model:
    """Builds DenseNet-BC-depth-growth_rate, or a plain DenseNet with ``bottleneck=False, compression=1.0``.

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
        weight_decay: b >= 0 of an L2 loss ``b/2 * |w|^2`` on convolution and dense kernels; 0 when the
            optimizer decays weights.
        bn_momentum: Share of a moving statistic kept per ghost (or sub-batch), 0 .. 1.
        bn_epsilon: Added to the variance.
        ghost_batch_size: Samples that are normalised together in training, at least 1
            (`tflbt.models.GhostBatchNormalization`); None: the whole sub-batch.

    Returns:
        A functional model from images to logits ``[n, classes]``, float32 under mixed precision too.

    Raises:
        ValueError: If the depth does not fit, or another argument is out of its range.

    Example:
        >>> from tflbt.models.densenet import densenet
        >>> model = densenet(10, 4)
        >>> sum(int(tf.size(variable)) for variable in model.trainable_variables)
        2666
    """
    layers = _layers_of_a_block(depth, bottleneck)
    _check(input_shape, growth_rate, compression, dropout)
    build = _DenseBlocks(
        ResidualBlocks("B", weight_decay, bn_momentum, bn_epsilon, ghost_batch_size, False),
        growth_rate,
        bottleneck,
        dropout,
    )
    inputs = tf.keras.Input(tuple(input_shape), name="images")
    x = build.convolution(inputs, 2 * growth_rate if bottleneck else 16, 3, "stem")
    for stage in range(1, _STAGES + 1):
        for layer in range(1, layers + 1):
            x = build.layer(x, f"stage{stage}_layer{layer}")
        if stage < _STAGES:
            x = build.transition(x, int(compression * x.shape[-1]), f"transition{stage}")
    x = _LAYERS.ReLU(name="last_relu")(build.blocks.normalisation(x, "last_bn"))
    x = _LAYERS.GlobalAveragePooling2D(name="mean_over_positions")(x)
    logits = build.logits(x, classes)
    return tf.keras.Model(inputs, logits, name=f"densenet{depth}_{growth_rate}")


@dataclasses.dataclass(frozen=True)
class _DenseBlocks:
    """Adds a network's parts to the graph, all with the same settings."""

    blocks: ResidualBlocks
    growth_rate: int
    bottleneck: bool
    dropout: float

    def layer(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """Joins k new channels to those there are."""
        new = x
        if self.bottleneck:
            new = self._activated(new, _BOTTLENECK * self.growth_rate, 1, f"{name}_bottleneck")
        new = self._activated(new, self.growth_rate, 3, name)
        return _LAYERS.Concatenate(name=f"{name}_join")([x, new])

    def transition(self, x: tf.Tensor, channels: int, name: str) -> tf.Tensor:
        """Fewer channels, half the sides."""
        x = self._activated(x, channels, 1, name)
        return _LAYERS.AveragePooling2D(2, name=f"{name}_pool")(x)

    def convolution(self, x: tf.Tensor, channels: int, kernel: int, name: str) -> tf.Tensor:
        """A convolution without bias."""
        return _LAYERS.Conv2D(
            channels,
            kernel,
            padding="same",
            use_bias=False,
            kernel_initializer=tf.keras.initializers.VarianceScaling(
                2.0, "fan_out", "untruncated_normal"
            ),
            kernel_regularizer=self._decay(),
            name=name,
        )(x)

    def logits(self, x: tf.Tensor, classes: int) -> tf.Tensor:
        """The output layer, in float32 so that the loss is exact under mixed precision."""
        return _LAYERS.Dense(
            classes,
            kernel_initializer=initialisers("pytorch", x.shape[-1])["kernel_initializer"],
            kernel_regularizer=self._decay(),
            dtype="float32",
            name="logits",
        )(x)

    def _activated(self, x: tf.Tensor, channels: int, kernel: int, name: str) -> tf.Tensor:
        """Normalisation, ReLU, convolution, dropout."""
        x = _LAYERS.ReLU(name=f"{name}_relu")(self.blocks.normalisation(x, f"{name}_bn"))
        x = self.convolution(x, channels, kernel, f"{name}_conv")
        return _LAYERS.Dropout(self.dropout, name=f"{name}_dropout")(x) if self.dropout else x

    def _decay(self) -> tf.keras.regularizers.Regularizer | None:
        decay = self.blocks.weight_decay
        return tf.keras.regularizers.L2(decay / 2) if decay else None


def _layers_of_a_block(depth: int, bottleneck: bool) -> int:
    """The first convolution, two transitions and the dense layer are not in blocks."""
    step = _STAGES * (2 if bottleneck else 1)
    layers, left = divmod(depth - 4, step)
    if left or layers < 1:
        known = ", ".join(str(step * n + 4) for n in (1, 2, 6, 12, 16))
        raise ValueError(f"depth={depth!r} must be {step}n + 4, such as {known}.")
    return layers


def _check(
    input_shape: Sequence[int], growth_rate: int, compression: float, dropout: float
) -> None:
    if min(input_shape[:2]) < 4:
        raise ValueError(f"input_shape={input_shape!r} must be at least 4 pixels high and wide.")
    if growth_rate < 1:
        raise ValueError(f"growth_rate={growth_rate!r} must be at least 1.")
    if not 0 < compression <= 1:
        raise ValueError(f"compression={compression!r} must be more than 0 and at most 1.")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout!r} must be at least 0 and less than 1.")
