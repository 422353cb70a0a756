"""A small problem, a model for it, and callbacks that watch or script a run."""

from __future__ import annotations

import collections
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tflbt.callbacks.curvature_probe import CurvatureProbe
from tflbt.control.progress import Progress


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    """32 samples of a regression whose output-layer eigenvalue rises while a network learns it."""
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    return x, 10 * x[:, :1]


def sgd() -> tf.keras.optimizers.Optimizer:
    """The usual optimizer."""
    return tf.keras.optimizers.SGD(0.01, momentum=0.9)


def small_model(
    optimizer: Any = None, seed: int = 0, cls: type = tf.keras.Model, eager: bool = True
) -> tf.keras.Model:
    """A compiled two-layer network; plain Keras runs it eagerly, which saves the time of tracing."""
    tf.keras.utils.set_random_seed(seed)
    inputs = tf.keras.Input([4])
    model = cls(inputs, tf.keras.layers.Dense(1)(tf.keras.layers.Dense(8)(inputs)))
    model.compile(optimizer or sgd(), "mse", run_eagerly=eager and cls is tf.keras.Model)
    return model


def as_new(model: tf.keras.Model, weights: Iterable[np.ndarray], rate: float) -> None:
    """Gives a model these weights and an optimizer without history; what is compiled, which takes time, stays."""
    model.set_weights(weights)
    for variable in model.optimizer.variables:
        variable.assign(tf.zeros_like(variable))
    vars(model.optimizer).pop("_tflbt_rate", None)  # the factors that callbacks had given it
    model.optimizer.learning_rate = rate
    model.stop_training = False
    if hasattr(model, "samples_seen"):
        model._tflbt_plan = None
        model.samples_seen = 0
        model.update_state.progress = Progress()


@pytest.fixture
def cut_after(tmp_path: Path) -> Callable[[Path, int], Path]:
    """Makes the folder of checkpoints that a kill after so many epochs leaves, from a run that kept them all."""

    def cut(whole: Path, epochs: int) -> Path:
        folder = tmp_path / f"cut_{epochs}"
        shutil.rmtree(folder, ignore_errors=True)
        for number in range(1, epochs + 1):
            name = f"epoch_{number:05d}"
            shutil.copytree(whole / name, folder / name)
        return folder

    return cut


# Networks that no test has now, by what is compiled, which takes most of a test's time; each with its first weights.
_POOL: dict[Any, list[tuple[tf.keras.Model, Any, list[np.ndarray]]]] = collections.defaultdict(list)


@pytest.fixture
def make_model() -> Iterator[Callable[..., tf.keras.Model]]:
    """Gives a compiled two-layer network as new, another at each call: `make_model(optimizer, seed, cls, fresh)`.

    With an SGD that has a number as its rate it is one that other tests have used, if it is compiled as it was.
    """
    lent = []

    def make(
        optimizer: Any = None, seed: int = 0, cls: type = tf.keras.Model, fresh: bool = False
    ) -> tf.keras.Model:
        optimizer = optimizer or sgd()
        config = optimizer.get_config()
        rate = config.pop("learning_rate", None)
        if fresh or type(optimizer) is not tf.keras.optimizers.SGD or not np.isscalar(rate):
            return small_model(optimizer, seed, cls)
        key = (cls, seed, *sorted(config.items()))
        if not _POOL[key]:
            model = small_model(optimizer, seed, cls, eager=False)
            model.optimizer.build(model.trainable_variables)
            _POOL[key].append((model, optimizer, model.get_weights()))
        lent.append((key, *_POOL[key].pop()))
        model = lent[-1][1]
        tf.keras.utils.set_random_seed(seed)
        as_new(model, lent[-1][3], rate)
        return model

    yield make
    for key, model, *first in lent:
        if model.optimizer is first[0] and model.loss == "mse" and not model.run_eagerly:
            _POOL[key].append((model, *first))


class Rates(tf.keras.callbacks.Callback):
    """Notes the learning rate of every update."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Notes it."""
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        self.rates.append(float(optimizer.learning_rate))


@pytest.fixture
def rates() -> Rates:
    """A callback that notes the learning rate of every update."""
    return Rates()


class Script(tf.keras.callbacks.Callback):
    """Logs a given number an epoch as `scripted`, for callbacks after it to follow."""

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Logs it."""
        logs["scripted"] = self.values[epoch]


@pytest.fixture
def script() -> type[Script]:
    """The class of `Script`."""
    return Script


class ScriptedCurvature(CurvatureProbe):
    """Gives eigenvalues from a list, in place of measuring, and counts how often it is asked."""

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__((np.zeros(1), np.zeros(1)), sub_batch_size=None)
        self.values = list(values)
        self.asked = 0

    def measure_again(self, model: Any) -> float:
        """The next one."""
        self.eigenvalue = self.values[self.asked]
        self.asked += 1
        return self.eigenvalue


@pytest.fixture
def scripted_curvature() -> type[ScriptedCurvature]:
    """The class of `ScriptedCurvature`."""
    return ScriptedCurvature
