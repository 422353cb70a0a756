"""The weights that PyTorch's layers start with, and Keras's by name."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def initialisers(name: str, inputs: int) -> dict[str, Any]:
    r"""Gives the initialisers of a convolution or dense layer, as its arguments.

    Networks that their authors wrote in PyTorch without an initialisation of their own start from its default: kernel
    and bias uniform in :math:`\pm 1 / \sqrt{n}` for n inputs of a unit. The kernel's variance, :math:`1 / 3n`, is a
    sixth of what ReLUs need to keep the size of what passes them (He et al. 2015), so a deep network without
    normalisation begins to learn late.

    Args:
        name: "pytorch", or the name of a Keras initialiser for kernels, such as "he_normal"; biases are 0 then.
        inputs: n >= 1, the numbers that one unit reads: kernel height x width x channels in a convolution.

    Returns:
        ``kernel_initializer``, and with "pytorch" ``bias_initializer``.

    Raises:
        ValueError: If Keras knows no initialiser of that name.

    Example:
        >>> from tflbt.models.initialisation import initialisers
        >>> layer = tf.keras.layers.Dense(1000, **initialisers("pytorch", 4))
        >>> round(float(tf.reduce_max(layer(tf.eye(4)) - layer.bias)), 2)
        0.5

    Source: `reset_parameters` of PyTorch's ``nn.Linear`` and ``nn.Conv2d`` (``kaiming_uniform_`` with a = sqrt 5).
    """
    if name != "pytorch":
        try:
            tf.keras.initializers.get(name)
        except ValueError:
            raise ValueError(
                f'initialisation={name!r} must be "pytorch" or one of Keras, such as "he_normal".'
            ) from None
        return {"kernel_initializer": name}
    uniform, bound = tf.keras.initializers.RandomUniform, inputs**-0.5
    return {
        "kernel_initializer": uniform(-bound, bound),
        "bias_initializer": uniform(-bound, bound),
    }
