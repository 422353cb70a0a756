"""How the learning rate grows with the batch size: the linear and the square-root rule."""

from __future__ import annotations

import math


def linear_scaling(learning_rate: float, batch_size: int, base_batch_size: int) -> float:
    """Scales a learning rate in proportion to the batch size.

    rate * batch_size / base_batch_size

    Args:
      learning_rate: the rate tuned at `base_batch_size`, more than 0.
      batch_size: samples an update now, at least 1.
      base_batch_size: samples an update then, at least 1.

    Returns:
      The rate for `batch_size`.

    Raises:
      ValueError: if an argument is out of its range.

    Source: Goyal et al. 2017; section 2.2 of `two-phase.txt`.

    Example:
      >>> linear_scaling(0.1, 8192, 128)
      6.4
    """
    return _checked(learning_rate, batch_size, base_batch_size) * (batch_size / base_batch_size)


def square_root_scaling(learning_rate: float, batch_size: int, base_batch_size: int) -> float:
    """Scales a learning rate by the square root of the batch size's growth.

    rate * sqrt(batch_size / base_batch_size)

    Args:
      learning_rate: the rate tuned at `base_batch_size`, more than 0.
      batch_size: samples an update now, at least 1.
      base_batch_size: samples an update then, at least 1.

    Returns:
      The rate for `batch_size`.

    Raises:
      ValueError: if an argument is out of its range.

    Source: Krizhevsky 2014; Hoffer et al. 2017 ("root scaling rule" in `two-phase.txt`).

    Example:
      >>> square_root_scaling(0.1, 8192, 128)
      0.8
    """
    return _checked(learning_rate, batch_size, base_batch_size) * math.sqrt(
        batch_size / base_batch_size
    )


def _checked(learning_rate: float, batch_size: int, base_batch_size: int) -> float:
    for name, value in (
        ("learning_rate", learning_rate),
        ("batch_size", batch_size),
        ("base_batch_size", base_batch_size),
    ):
        if not value > 0:
            raise ValueError(f"{name}={value!r} must be more than 0.")
    return learning_rate
