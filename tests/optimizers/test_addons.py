"""TensorFlow Addons' optimizers by name: found, refused, absent, and never imported unasked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import rank_environment
from tflbt.optimizers import addons

OPTIMIZERS = ("AdamW", "LAMB", "LazyAdam", "Lookahead", "NovoGrad", "RectifiedAdam", "SGDW", "Yogi")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_their_optimizers_are_found_by_name(name):
    theirs = pytest.importorskip("tensorflow_addons.optimizers")
    cls = addons.get(f"tfa.{name}")
    assert cls is getattr(theirs, name)
    assert issubclass(cls, tf.keras.optimizers.legacy.Optimizer)


def test_what_is_found_takes_a_step():
    pytest.importorskip("tensorflow_addons")
    w = tf.Variable([3.0, 4.0])
    optimizer = addons.get("tfa.LAMB")(0.1)
    optimizer.apply_gradients([(tf.constant([0.5, -2.0]), w)])
    move = np.array([3.0, 4.0]) - w.numpy()
    # |w| / |u| = 5 / sqrt(2), as Adam's first update is the gradient's sign.
    np.testing.assert_allclose(move, 0.1 * 5 / np.sqrt(2) * np.array([1.0, -1.0]), rtol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "tfa.Lamb",
        "tfa.",
        "LAMB",
        "tfa.optimizers.LAMB",
        # These are in their module too.
        "tfa.CyclicalLearningRate",
        "tfa.DecoupledWeightDecayExtension",
        "tfa.KerasLegacyOptimizer",
        "tfa.extend_with_decoupled_weight_decay",
    ],
)
def test_an_unknown_name_is_told_with_those_that_there_are(name):
    pytest.importorskip("tensorflow_addons")
    with pytest.raises(ValueError) as error:
        addons.get(name)
    told = str(error.value)
    assert told.startswith(f"name={name!r} is no optimizer of TensorFlow Addons: they have ")
    listed = told.rstrip(".").split("they have ")[1].split(", ")
    assert set(OPTIMIZERS) < set(listed)
    assert "KerasLegacyOptimizer" not in listed
    assert not any("Rate" in one or "Extension" in one for one in listed)


def test_where_they_are_not_installed_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)  # importing it now fails
    monkeypatch.delitem(sys.modules, "tensorflow_addons.optimizers", raising=False)
    with pytest.raises(ValueError, match=r"^name='tfa.LAMB' needs TensorFlow Addons") as error:
        addons.get("tfa.LAMB")
    assert "pip install 'tflbt[addons]'" in str(error.value)
    assert "LayerWise" in str(error.value)
    assert isinstance(error.value.__cause__, ImportError)


def test_they_are_imported_only_when_asked_for_and_in_silence():
    """In a process of its own, as others here do ask; warnings are errors there once tflbt is imported."""
    pytest.importorskip("tensorflow_addons")
    program = Path(__file__).with_name("unasked_addons.py")
    done = subprocess.run(
        [sys.executable, program], env=rank_environment(), text=True, capture_output=True
    )
    assert "asked" in done.stdout, done.stderr[-3000:]
    assert "end of life" not in done.stderr
