"""Keras 2 where TensorFlow brings Keras 3: chosen before TensorFlow is imported, for all packages that use Keras.

From 2.16 on, `tf.keras` is Keras 3 unless TF_USE_LEGACY_KERAS is set before TensorFlow is imported; then it is Keras 2,
from the package tf_keras. Packages that import `keras` by its own name get Keras 3 all the same: they are mended here.
"""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

chosen = (
    False  # whether Keras 2 was chosen here: a program that imports TensorFlow first has Keras 3
)


def choose() -> None:
    """Sets TF_USE_LEGACY_KERAS where tf_keras is installed and neither the user nor an imported TensorFlow decided.

    Where it is set, packages that would use Keras 3 are mended, those that are already imported too.
    """
    global chosen
    if importlib.util.find_spec("tf_keras") is None:
        return
    if "tensorflow" not in sys.modules and "TF_USE_LEGACY_KERAS" not in os.environ:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        chosen = True
    if os.environ.get("TF_USE_LEGACY_KERAS") not in ("1", "true", "True"):
        return
    sys.meta_path.insert(0, _FINDER)
    for name in _MENDS.keys() & sys.modules.keys():
        _MENDS[name](sys.modules[name])


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


def mend_horovod(module: ModuleType) -> None:
    """Lets Horovod's callbacks and functions for Keras call the backend of `tf.keras`: they take that of `keras`."""
    import tensorflow as tf

    module.K = tf.keras.backend  # type: ignore[attr-defined]


def mend_tuner(config: ModuleType) -> None:
    """Lets KerasTuner use `tf.keras`, as it does without Keras 3; too late once the rest is imported."""
    if "keras_tuner.src.backend.keras" not in sys.modules:
        config._MULTI_BACKEND = False  # type: ignore[attr-defined]


_MENDS: dict[str, Callable[[ModuleType], None]] = {
    "horovod.tensorflow.keras": mend_horovod,
    "horovod.tensorflow.keras.callbacks": mend_horovod,
    "keras_tuner.src.backend.config": mend_tuner,
}
if sys.version_info >= (3, 12):
    _MENDS["tf_keras.src.backend"] = mend_seeds


class _Finder:
    """Mends modules as soon as they are imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Finds such a module as Python would, and has it mended."""
        spec = PathFinder.find_spec(name, path, target) if name in _MENDS else None
        if spec is not None and spec.loader is not None:
            execute, mend = spec.loader.exec_module, _MENDS[name]

            def execute_and_mend(module: ModuleType) -> None:
                execute(module)
                mend(module)

            spec.loader.exec_module = execute_and_mend  # type: ignore[method-assign]
        return spec


_FINDER = _Finder()
