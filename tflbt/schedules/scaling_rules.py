"""Rules for another batch size: scale the learning rate (linearly or by the square root), or the number of epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import overload

from tflbt import checks


@checks.arguments
def linear_scaling(learning_rate: float, batch_size: int, base_batch_size: int) -> float:
    """Scales a learning rate in proportion to the batch size.

    rate * batch_size / base_batch_size

    Args:
        learning_rate: The rate tuned at `base_batch_size`, more than 0.
        batch_size: Samples per update now, at least 1.
        base_batch_size: Samples per update then, at least 1.

    Returns:
        The rate for `batch_size`.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Goyal et al. 2017; section 2.2 of `two-phase.txt`.

    Example:
        >>> linear_scaling(0.1, 8192, 128)
        6.4
    """
    _check(learning_rate=learning_rate, batch_size=batch_size, base_batch_size=base_batch_size)
    return learning_rate * (batch_size / base_batch_size)


@checks.arguments
def square_root_scaling(learning_rate: float, batch_size: int, base_batch_size: int) -> float:
    """Scales a learning rate by the square root of the batch size's growth.

    rate * sqrt(batch_size / base_batch_size)

    Args:
        learning_rate: The rate tuned at `base_batch_size`, more than 0.
        batch_size: Samples per update now, at least 1.
        base_batch_size: Samples per update then, at least 1.

    Returns:
        The rate for `batch_size`.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Krizhevsky 2014; Hoffer et al. 2017 ("root scaling rule" in `two-phase.txt`).

    Example:
        >>> square_root_scaling(0.1, 8192, 128)
        0.8
    """
    _check(learning_rate=learning_rate, batch_size=batch_size, base_batch_size=base_batch_size)
    return learning_rate * math.sqrt(batch_size / base_batch_size)


@overload
def regime_adaptation(epochs: int, batch_size: int, base_batch_size: int) -> int: ...


@overload
def regime_adaptation(
    epochs: Sequence[int], batch_size: int, base_batch_size: int
) -> tuple[int, ...]: ...


@checks.arguments
def regime_adaptation(
    epochs: int | Sequence[int], batch_size: int, base_batch_size: int
) -> int | tuple[int, ...]:
    """Stretches a number of epochs in proportion to the batch size, so that the number of updates stays the same.

    epochs * batch_size / base_batch_size, rounded to whole epochs

    N samples give epochs * N / batch_size updates, so ten times the batch needs ten times the epochs for as many. The
    learning rate stays the same, or grows by `square_root_scaling`; milestones of its decay are stretched like the
    epochs. A smaller batch shortens them.

    Args:
        epochs: Epochs of the regime at `base_batch_size`, at least 1; or several, such as the milestones of a decay.
        batch_size: Samples per update now, at least 1.
        base_batch_size: Samples per update then, at least 1.

    Returns:
        The epochs for `batch_size`, at least 1 each; a tuple for several.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Hoffer et al. 2017, "Train longer, generalize better"; section 3.1 and Figure 5 of `batch-augmentation.txt`
      (ResNet-44, batch 64 -> 640, ten times the epochs).

    Example:
        >>> regime_adaptation(200, 640, 64), regime_adaptation((81, 122, 164), 640, 64)
        (2000, (810, 1220, 1640))
    """
    _check(batch_size=batch_size, base_batch_size=base_batch_size)
    if isinstance(epochs, Iterable):
        return tuple(regime_adaptation(each, batch_size, base_batch_size) for each in epochs)
    checks.whole("epochs", epochs, at_least=1)
    return max(1, round(epochs * batch_size / base_batch_size))


def _check(**values: float) -> None:
    """Raises unless every argument is more than 0."""
    for name, value in values.items():
        checks.number(name, value, more_than=0)
