"""tflbt: large-batch training for TensorFlow/Keras over Horovod.

The names most users need are here; they are imported when first used, so that `import tflbt` costs nothing.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from tflbt import legacy_keras

__version__ = "0.1.0"

_HOMES = {
    "BatchAugmentation": "tflbt.data.batch_augmentation",
    "FGSM": "tflbt.training.rules.adversarial",
    "LargeBatchModel": "tflbt.training.large_batch_model",
    "SmallLossDiscarding": "tflbt.training.rules.small_loss",
    "init": "tflbt.distributed.comm",
    "is_chief": "tflbt.distributed.comm",
    "rank": "tflbt.distributed.comm",
    "size": "tflbt.distributed.comm",
}
_PACKAGES = (
    "analysis",
    "callbacks",
    "control",
    "curvature",
    "data",
    "distributed",
    "elastic",
    "models",
    "optimizers",
    "recipes",
    "report",
    "runs",
    "schedules",
    "training",
    "tuning",
)

__all__ = ["__version__", *_HOMES, *_PACKAGES]  # noqa: PLE0604

legacy_keras.choose()


def __getattr__(name: str) -> Any:
    """Imports a public name from its home on first use."""
    if name == "init":
        # A program that loads a model from a file then gets a LargeBatchModel, which ranks train together.
        importlib.import_module(_HOMES["LargeBatchModel"])
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"tflbt.{name}")
    if name == "recipe":
        warnings.warn("tflbt.recipe is now tflbt.recipes", DeprecationWarning, stacklevel=2)
        return importlib.import_module("tflbt.recipes")
    raise AttributeError(f"module 'tflbt' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Lists the public names."""
    return sorted(__all__)
