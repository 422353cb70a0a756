"""The hooks that tflbt takes from Keras's optimizers: present and called, else an error at the first build."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tflbt import legacy_keras
from tflbt.optimizers import LARS, LayerWise, keras_slots

K = tf.keras
BASE = K.optimizers.Optimizer.__mro__[1]  # where Keras keeps its rate and count


def _steps(optimizer):
    variable = tf.Variable([1.0])
    optimizer.apply_gradients([(tf.constant([1.0]), variable)])
    return variable


def test_this_keras_uses_every_hook():
    keras_slots.check_hooks()


@pytest.mark.parametrize("hook", keras_slots.HOOKS)
def test_a_hook_that_keras_does_not_use_is_an_error_at_the_first_build(hook, monkeypatch):
    monkeypatch.setitem(keras_slots.HOOKS, f"{hook}_renamed", keras_slots.HOOKS[hook])
    message = f"Keras {legacy_keras.version()} .*`{keras_slots.HOOKS[hook]}` does not use `{hook}_renamed`"
    with pytest.raises(RuntimeError, match=message):
        LARS().build([tf.Variable([1.0])])


def test_a_keras_that_decays_weights_elsewhere_is_refused(monkeypatch):
    def apply_gradients(self, grads_and_vars, name=None):
        for gradient, variable in grads_and_vars:
            self._decay(variable)
            self.update_step(gradient, variable)

    for cls in (K.optimizers.Optimizer, BASE):
        monkeypatch.setattr(cls, "apply_gradients", apply_gradients)
    with pytest.raises(RuntimeError, match="`apply_gradients` does not use `_apply_weight_decay`"):
        LARS(weight_decay=0.1).build([tf.Variable([1.0])])


def test_a_keras_that_keeps_its_rate_elsewhere_is_refused(monkeypatch):
    monkeypatch.setattr(BASE, "learning_rate", property(lambda self: self._rate))
    with pytest.raises(RuntimeError, match="`learning_rate` does not use `_learning_rate`"):
        LayerWise(K.optimizers.SGD(0.1)).build([tf.Variable([1.0])])


@pytest.mark.parametrize("name", ["learning_rate", "iterations"])
def test_a_rate_or_count_apart_from_the_inner_optimizers_is_refused(name, monkeypatch):
    optimizer = LayerWise(K.optimizers.SGD(0.1))
    monkeypatch.setattr(keras_slots.RateOfInner, f"_{name}", tf.Variable(1))
    with pytest.raises(RuntimeError, match=f"`{name}` is not the inner optimizer's"):
        optimizer.build([tf.Variable([1.0])])


@pytest.mark.parametrize("rate", [0.5, K.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)])
def test_the_rate_and_the_count_are_the_inner_optimizers(rate):
    optimizer = LayerWise(K.optimizers.SGD(rate))
    _steps(optimizer)
    assert int(optimizer.iterations) == int(optimizer.inner.iterations) == 1
    assert optimizer.learning_rate is optimizer.inner.learning_rate


def test_no_weight_decays_before_the_step():
    variable = tf.Variable([1.0])
    optimizer = LARS(0.0, weight_decay=0.5)
    optimizer.apply_gradients([(tf.constant([1.0]), variable)])
    assert float(variable[0]) == 1.0


def test_a_wrapped_optimizer_is_recognised():
    assert not keras_slots.is_horovods(K.optimizers.SGD())
