"""Keras 2 beside a TensorFlow that brings Keras 3: chosen in time, Keras 3 refused, seeds drawn on Python 3.12."""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import sys
import threading
from types import SimpleNamespace

import pytest
import tensorflow as tf

from tflbt import legacy_keras


@pytest.mark.parametrize(("loaded", "chosen"), [(False, "1"), (True, None)])
def test_keras_2_is_chosen_while_tensorflow_is_not_imported(monkeypatch, loaded, chosen):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "tf_keras")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(legacy_keras, "_MENDS", {})
    monkeypatch.setattr(legacy_keras, "chosen", False)
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "")  # so that it is set back afterwards
    monkeypatch.delenv("TF_USE_LEGACY_KERAS")
    if not loaded:
        monkeypatch.delitem(sys.modules, "tensorflow")
    legacy_keras.choose()
    assert os.environ.get("TF_USE_LEGACY_KERAS") == chosen
    assert legacy_keras.chosen == (not loaded)
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")  # the user's word stands
    legacy_keras.choose()
    assert os.environ["TF_USE_LEGACY_KERAS"] == "0"


def test_keras_3_is_refused_by_name(monkeypatch):
    legacy_keras.refuse_keras_3()
    monkeypatch.setattr(legacy_keras, "version", lambda: "3.15.1")
    with pytest.raises(RuntimeError, match=r"^tf.keras is Keras 3.15.1.*TF_USE_LEGACY_KERAS=1"):
        legacy_keras.refuse_keras_3()


def test_the_package_of_what_keras_2_defines_is_keras_in_every_lane():
    made_by_keras = (tf.keras.metrics.Mean, tf.keras.losses.MeanSquaredError(), tf.keras.losses.mse)
    assert {legacy_keras.package_of(thing) for thing in made_by_keras} == {"keras"}
    assert legacy_keras.package_of(random.Random(0)) == "random"


def test_seeds_are_those_of_earlier_pythons():
    """Keras asks for `randint(1, 1e9)`, which Python 3.12 refuses and earlier ones take for whole numbers."""
    backend = SimpleNamespace(_SEED_GENERATOR=threading.local(), RandomGenerator=type("R", (), {}))
    legacy_keras.mend_seeds(backend)
    generator = backend.RandomGenerator()
    assert generator._create_seed(7) == 7
    assert 1 <= generator._create_seed(None) <= 10**9
    backend._SEED_GENERATOR.generator = random.Random(5)
    drawn = [generator._create_seed(None) for _ in range(3)]
    theirs = random.Random(5)
    assert drawn == [theirs.randint(1, 10**9) for _ in range(3)]


def test_random_layers_are_built_after_a_seed_was_set():
    seen = []
    for _ in range(2):
        tf.keras.utils.set_random_seed(3)
        layer = tf.keras.layers.Dense(2)
        layer.build([None, 3])
        seen.append(layer.kernel.numpy().tolist())
    assert seen[0] == seen[1]


@pytest.mark.parametrize("name", ["horovod.tensorflow.keras", "horovod.tensorflow.keras.callbacks"])
def test_horovods_callbacks_call_the_backend_of_tf_keras(name):
    """They import it as `keras.backend`, which is another Keras in the second lane."""
    parent = importlib.import_module(name.rpartition(".")[0])
    spec = legacy_keras._FINDER.find_spec(name, parent.__path__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.K is tf.keras.backend
    assert legacy_keras._FINDER.find_spec("horovod.tensorflow.functions", parent.__path__) is None


def test_keras_tuner_searches_models_of_tf_keras(monkeypatch):
    theirs = importlib.import_module("keras_tuner.src.backend")
    assert theirs.keras.Model is tf.keras.Model
    config = SimpleNamespace(_MULTI_BACKEND=True)
    legacy_keras.mend_tuner(config)  # the rest of it has been imported with another Keras
    assert config._MULTI_BACKEND
    monkeypatch.delitem(sys.modules, "keras_tuner.src.backend.keras")
    legacy_keras.mend_tuner(config)
    assert not config._MULTI_BACKEND
