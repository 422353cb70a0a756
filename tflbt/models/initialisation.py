"""The weights that PyTorch's layers start with, and Keras's by name."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def initialisers(name: str, inputs: int) -> dict[str, Any]:
    r"""The initialisers of a convolution or dense layer, as its arguments: "pytorch", or Keras's of a name, biases 0.

    Networks that their authors wrote in PyTorch without an initialisation of their own start from its default: kernel
    and bias uniform in $\pm 1 / \sqrt{n}$ for the n numbers that a unit reads (in a convolution kernel height x width x
    channels). The kernel's variance, $1 / 3n$, is a sixth of what ReLUs need to keep the size of what passes them (He
    et al. 2015), so a deep network without normalisation begins to learn late.

    Raises:
        ValueError: If Keras knows no initialiser of that name.

    Source: `reset_parameters` of PyTorch's `nn.Linear` and `nn.Conv2d` (`kaiming_uniform_` with a = sqrt 5).
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
    return {f"{part}_initializer": uniform(-bound, bound) for part in ("kernel", "bias")}
