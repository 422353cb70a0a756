"""TensorFlow Addons' optimizers by name: the one place that imports the package, and only when asked to."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

PREFIX = "tfa."


def get(name: str) -> Any:
    """The class of an optimizer of TensorFlow Addons.

    They are legacy Keras optimizers: tflbt trains with them, but they know no bounds, and `LayerWise` cannot hold
    them.

    Args:
      name: such as "tfa.LAMB".

    Returns:
      The class.

    Raises:
      ValueError: if TensorFlow Addons are not installed, or have no optimizer of that name.

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
            f"{name!r} needs TensorFlow Addons, which cannot be imported ({error}): pip install 'tflbt[addons]', or "
            "use tflbt's own LAMB, LARS and LayerWise."
        ) from error
    classes = dict(inspect.getmembers(theirs, inspect.isclass))
    if not name.startswith(PREFIX) or name[len(PREFIX) :] not in classes:
        raise ValueError(
            f"{name!r} is no optimizer of TensorFlow Addons: they have {', '.join(sorted(classes))}."
        )
    return classes[name[len(PREFIX) :]]
