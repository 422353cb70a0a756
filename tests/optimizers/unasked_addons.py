"""A program: imports TensorFlow Addons only when a recipe names one of their optimizers, and without a warning."""

from __future__ import annotations

import sys
import warnings

import ml_collections

from tflbt.recipes import sections


def optimizer(name: str) -> None:
    """Builds the optimizer that a recipe names."""
    sections.build(ml_collections.ConfigDict({"optimizer": {"name": name}}), "optimizer")


if __name__ == "__main__":
    optimizer("LAMB")
    assert "tensorflow_addons" not in sys.modules
    warnings.simplefilter("error")
    optimizer("tfa.LAMB")
    assert "tensorflow_addons" in sys.modules
    print("asked")
