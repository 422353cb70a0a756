"""TensorFlow Addons' optimizers by name: the one place that imports the package, and only when asked to."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import tensorflow as tf

PREFIX = "tfa."


def get(name: str) -> Any:
    """The class of an optimizer of TensorFlow Addons, by a name such as "tfa.LAMB".

    They are legacy Keras optimizers: tflbt trains with them, but they know no bounds, and `LayerWise` cannot hold them.

    Raises:
        ValueError: If TensorFlow Addons are not installed, or have no optimizer of that name.
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
    base = tf.keras.optimizers.legacy.Optimizer
    classes = {  # schedules, a mixin and the base class are there too
        key: member
        for key, member in inspect.getmembers(theirs, inspect.isclass)
        if issubclass(member, base) and member is not base
    }
    if not name.startswith(PREFIX) or name[len(PREFIX) :] not in classes:
        raise ValueError(
            f"name={name!r} is no optimizer of TensorFlow Addons: they have {', '.join(sorted(classes))}."
        )
    return classes[name[len(PREFIX) :]]
