"""TensorFlow Addons' optimizers by name: the one place that imports the package, and only when asked to."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import tensorflow as tf

PREFIX = "tfa."


def get(name: str) -> Any:
    """The class of an optimizer of TensorFlow Addons.

    They are legacy Keras optimizers: tflbt trains with them, but they know no bounds, and `LayerWise` cannot hold
    them.

    Args:
        name: Such as "tfa.LAMB".

    Returns:
        The class.

    Raises:
        ValueError: If TensorFlow Addons are not installed, or have no optimizer of that name.

    Example:
        >>> get("tfa.LAMB").__name__
        'LAMB'
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # their announcement of their end
            import tensorflow_addons.optimizers as theirs
    except ImportError as error:
        raise ValueError(
            f"name={name!r} needs TensorFlow Addons, which cannot be imported ({error}): pip install 'tflbt[addons]', "
            "or use tflbt's own LAMB, LARS and LayerWise."
        ) from error
    classes = dict(inspect.getmembers(theirs, _is_optimizer))
    if not name.startswith(PREFIX) or name[len(PREFIX) :] not in classes:
        raise ValueError(
            f"name={name!r} is no optimizer of TensorFlow Addons: they have {', '.join(sorted(classes))}."
        )
    return classes[name[len(PREFIX) :]]


def _is_optimizer(member: Any) -> bool:
    """Says whether something in their module is an optimizer; schedules, a mixin and the base class are there too."""
    base = tf.keras.optimizers.legacy.Optimizer
    return inspect.isclass(member) and issubclass(member, base) and member is not base
