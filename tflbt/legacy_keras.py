"""Keras 2 where TensorFlow brings Keras 3: chosen before TensorFlow is imported, and mended for Python 3.12.

From 2.16 on, `tf.keras` is Keras 3 unless TF_USE_LEGACY_KERAS is set before TensorFlow is imported; then it is Keras 2,
from the package tf_keras.
"""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_BACKEND = "tf_keras.src.backend"
chosen = (
    False  # whether Keras 2 was chosen here: a program that imports TensorFlow first has Keras 3
)


def choose() -> None:
    """Sets TF_USE_LEGACY_KERAS where tf_keras is installed and neither the user nor an imported TensorFlow decided."""
    global chosen
    free = "tensorflow" not in sys.modules and "TF_USE_LEGACY_KERAS" not in os.environ
    if free and importlib.util.find_spec("tf_keras"):
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        chosen = True
    if sys.version_info < (3, 12):
        return
    if _BACKEND in sys.modules:
        mend_seeds(sys.modules[_BACKEND])
    else:
        sys.meta_path.insert(0, _Mender())


def refuse_keras_3() -> None:
    """Imports TensorFlow's Keras, and makes sure that it is Keras 2.

    Raises:
        RuntimeError: If `tf.keras` is Keras 3.
    """
    import tensorflow as tf

    if version().startswith("3"):
        raise RuntimeError(
            f"tf.keras is Keras {version()}, of which tflbt knows nothing: install tf_keras=={tf.__version__[:4]}.*, "
            "and import tflbt before tensorflow, or set TF_USE_LEGACY_KERAS=1 before Python starts."
        )


def version() -> str:
    """The version of the package behind `tf.keras`."""
    import tensorflow as tf

    return sys.modules[tf.keras.Model.__module__.split(".")[0]].__version__


def package_of(thing: Any) -> str:
    """The package in which a class, a function or an object's class is defined; "keras" for Keras 2 of either name.

    Example:
        >>> package_of(random.Random), package_of("tf_keras.src.losses")
        ('random', 'keras')
    """
    module = thing if isinstance(thing, str) else getattr(thing, "__module__", "")
    package = str(module).split(".")[0]
    return "keras" if package == "tf_keras" else package


def mend_seeds(backend: ModuleType) -> None:
    """Lets Keras draw seeds on Python 3.12, which refuses the bound 1e9: fixed in tf_keras 2.19; the same seeds.

    Without it every layer with a random initializer fails after `tf.keras.utils.set_random_seed`.
    """

    def create_seed(self: Any, user_specified_seed: int | None) -> int:
        if user_specified_seed is not None:
            return user_specified_seed
        generator = getattr(backend._SEED_GENERATOR, "generator", None) or random
        return generator.randint(1, 10**9)

    backend.RandomGenerator._create_seed = create_seed


class _Mender:
    """Mends tf_keras's backend as soon as it is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Finds the backend as others would, and has it mended."""
        if name != _BACKEND:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_mend(module: ModuleType) -> None:
                execute(module)
                mend_seeds(module)

            spec.loader.exec_module = execute_and_mend  # type: ignore[method-assign]
        return spec
