"""What a recipe says about measurements beside the training: checked early, and made into callbacks."""

from __future__ import annotations

from typing import Any

import ml_collections
import tensorflow as tf

from tflbt import callbacks


def check_monitors(config: ml_collections.ConfigDict) -> None:
    """Raises for values of `config.stability` that cannot be.

    Raises:
        ValueError: Naming the key, its value and what would do.
    """
    stability = config.stability
    if not stability.every >= 0:
        raise ValueError(
            f"config.stability.every={stability.every!r} must be a number of epochs, or 0 for never."
        )
    try:
        build_monitors(config, (0, 0))
    except ValueError as error:
        raise ValueError(f"config.stability.{error}") from error


def build_monitors(
    config: ml_collections.ConfigDict, curvature_data: Any
) -> list[tf.keras.callbacks.Callback]:
    """The callbacks that measure; they go before those that change the learning rate at an epoch's end."""
    stability = config.stability
    if not stability.every:
        return []
    return [callbacks.StabilityMonitor(curvature_data, **stability)]
