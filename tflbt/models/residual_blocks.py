"""What residual networks are made of: blocks beside a shortcut, convolutions, normalisation, logits."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tflbt.models.ghost_batch_norm import GhostBatchNormalization

_LAYERS = tf.keras.layers


@dataclasses.dataclass(frozen=True)
class ResidualBlocks:
    """Adds a network's parts to a functional graph, all with the same settings.

    Attributes:
        shortcut: "A" (parameter-free) or "B" (projection), where a block changes the shape; see
            `tflbt.models.resnet`.
        weight_decay: b >= 0 of an L2 loss ``b/2 * |w|^2`` on convolution and dense kernels.
        bn_momentum: Share of a moving statistic kept per batch that is normalised.
        bn_epsilon: Added to the variance.
        ghost_batch_size: Samples that are normalised together; None: the whole sub-batch.
        zero_init_last_gamma: Whether blocks start as the identity.

    Example:
        >>> from tflbt.models.residual_blocks import ResidualBlocks
        >>> build = ResidualBlocks("B", 0.0, 0.9, 1e-5, None, False)
        >>> build.bottleneck(tf.zeros([2, 8, 8, 16]), 16, 2, "block").shape
        TensorShape([2, 4, 4, 64])
    """

    shortcut: str
    weight_decay: float
    bn_momentum: float
    bn_epsilon: float
    ghost_batch_size: int | None
    zero_init_last_gamma: bool

    def block(self, x: tf.Tensor, width: int, stride: int, name: str) -> tf.Tensor:
        """Two 3x3 convolutions beside a shortcut, summed, then ReLU."""
        shortcut = self._shortcut(x, width, stride, name)
        x = self.convolution(x, width, f"{name}_conv1", stride)
        x = _LAYERS.ReLU(name=f"{name}_relu1")(self.normalisation(x, f"{name}_bn1"))
        x = self.convolution(x, width, f"{name}_conv2")
        x = self.normalisation(x, f"{name}_bn2", last=True)
        return _LAYERS.ReLU(name=f"{name}_relu2")(_LAYERS.Add(name=f"{name}_add")([shortcut, x]))

    def bottleneck(self, x: tf.Tensor, width: int, stride: int, name: str) -> tf.Tensor:
        """1x1, 3x3 and 1x1 convolutions beside a shortcut, to four times the width; the 3x3 has the stride."""
        shortcut = self._shortcut(x, 4 * width, stride, name)
        x = self.convolution(x, width, f"{name}_conv1", kernel=1)
        x = _LAYERS.ReLU(name=f"{name}_relu1")(self.normalisation(x, f"{name}_bn1"))
        x = self.convolution(x, width, f"{name}_conv2", stride)
        x = _LAYERS.ReLU(name=f"{name}_relu2")(self.normalisation(x, f"{name}_bn2"))
        x = self.convolution(x, 4 * width, f"{name}_conv3", kernel=1)
        x = self.normalisation(x, f"{name}_bn3", last=True)
        return _LAYERS.ReLU(name=f"{name}_relu3")(_LAYERS.Add(name=f"{name}_add")([shortcut, x]))

    def convolution(
        self, x: tf.Tensor, width: int, name: str, stride: int = 1, kernel: int = 3
    ) -> tf.Tensor:
        """A convolution without bias (the normalisation after it has one)."""
        return _LAYERS.Conv2D(
            width,
            kernel,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=self._regulariser(),
            name=name,
        )(x)

    def normalisation(self, x: tf.Tensor, name: str, last: bool = False) -> tf.Tensor:
        """Batch normalisation over the sub-batch, or over its ghosts; `last`: of a block."""
        options: dict[str, Any] = {
            "momentum": self.bn_momentum,
            "epsilon": self.bn_epsilon,
            "gamma_initializer": "zeros" if last and self.zero_init_last_gamma else "ones",
            "name": name,
        }
        if self.ghost_batch_size is None:
            return _LAYERS.BatchNormalization(**options)(x)
        return GhostBatchNormalization(self.ghost_batch_size, **options)(x)

    def logits(self, x: tf.Tensor, classes: int) -> tf.Tensor:
        """The output layer, in float32 so that the loss is exact under mixed precision."""
        return _LAYERS.Dense(
            classes,
            kernel_initializer="he_normal",
            kernel_regularizer=self._regulariser(),
            dtype="float32",
            name="logits",
        )(x)

    def _shortcut(self, x: tf.Tensor, width: int, stride: int, name: str) -> tf.Tensor:
        added = width - x.shape[-1]
        if stride == 1 and not added:
            return x
        if self.shortcut == "B":
            x = self.convolution(x, width, f"{name}_shortcut_conv", stride, kernel=1)
            return self.normalisation(x, f"{name}_shortcut_bn")
        if added < 0:
            raise ValueError(f"widths must not decrease with shortcut 'A', got {width} at {name}.")
        x = _LAYERS.AveragePooling2D(1, stride, name=f"{name}_shortcut_stride")(x)
        return _LAYERS.ZeroPadding2D(
            ((0, 0), (0, added)), data_format="channels_first", name=f"{name}_shortcut_pad"
        )(x)

    def _regulariser(self) -> tf.keras.regularizers.Regularizer | None:
        return tf.keras.regularizers.L2(self.weight_decay / 2) if self.weight_decay else None
