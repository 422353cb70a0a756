"""Keras's callbacks go on after a restart with what they had learnt."""

from __future__ import annotations

import json

import pytest
import tensorflow as tf

from tflbt.tuning.keras_state import KerasState


def callbacks():
    return [
        tf.keras.callbacks.LambdaCallback(),
        tf.keras.callbacks.EarlyStopping("loss", patience=1),
        tf.keras.callbacks.ReduceLROnPlateau("loss"),
    ]


def test_state_goes_through_json_and_is_restored_at_the_first_epoch():
    old = callbacks()
    for callback in old[1:]:
        callback.on_train_begin()
    old[1].wait, old[2].best = 1, 0.25
    before = KerasState(old)
    before.over = True
    state = json.loads(json.dumps(before.state()))
    new = callbacks()
    after = KerasState(new)
    after.restore(state)
    assert after.over
    after.first_epoch = 4
    for callback in new[1:]:
        callback.on_train_begin()  # which resets them
    assert new[1].wait == 0
    after.on_epoch_begin(4)
    assert (new[1].wait, new[2].best) == (1, 0.25) and after.began
    new[1].wait = 0
    after.on_epoch_begin(5)
    assert new[1].wait == 0  # restored once


def test_training_that_begins_elsewhere_is_refused():
    state = KerasState(callbacks())
    state.first_epoch = 2
    with pytest.raises(ValueError, match="^initial_epoch=0 must be 2"):
        state.on_epoch_begin(0)


def test_a_callback_with_a_state_of_its_own_keeps_it():
    class Own(tf.keras.callbacks.EarlyStopping):
        def state(self):
            return {}

        def restore(self, state):
            pass

    assert KerasState([Own("loss")]).state()["callbacks"] == []
