"""A trial's checkpoint says whether its callbacks had ended it; it goes on with the epoch where it was left."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tflbt.callbacks import Checkpoint
from tflbt.tuning.keras_state import KerasState


class StopsFirst(tf.keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 0


@pytest.mark.parametrize("stops_before", [True, False])
def test_a_checkpoint_says_whether_a_callback_before_it_ended_training(tmp_path, stops_before):
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    state, stop = KerasState(), StopsFirst()
    checkpoint = Checkpoint(tmp_path, [state])
    others = [stop, state] if stops_before else [state, stop]
    x = tf.ones([4, 2])
    model.fit(x, x[:, :1], epochs=3, verbose=0, callbacks=[*others, checkpoint])
    assert state.began
    again = KerasState()
    assert Checkpoint(tmp_path, [again]).resume(model) == 1
    assert again.over == stops_before


def test_training_that_begins_elsewhere_is_refused():
    state = KerasState()
    state.first_epoch = 2
    with pytest.raises(ValueError, match="^initial_epoch=0 must be 2"):
        state.on_epoch_begin(0)
    state.on_epoch_begin(2)
    state.on_epoch_begin(3)
    assert state.began
