"""Training in one job whose ranks come and go: they follow the batch, and outlive one another."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`fit`, imported when it is first used: the launcher needs no TensorFlow."""
    if name != "fit":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tflbt.elastic.session import fit

    return fit
