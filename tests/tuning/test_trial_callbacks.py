"""What watches a trial from inside ends it at its last epoch, or when it is hopeless."""

from __future__ import annotations

import math

import pytest
import tensorflow as tf

from tflbt.control.median_stopping import MedianStopping
from tflbt.distributed import comm
from tflbt.tuning.trial import Trial
from tflbt.tuning.trial_callbacks import AnotherRankFailedError, WatchTrial


def watch(trial, rule=None, epochs=6, values=(0.5,) * 6):
    """Runs a watched training in which the objective takes these values."""
    callback = WatchTrial(trial, "score", rule)
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(1,))])
    callback.set_model(model)
    for epoch in range(epochs):
        callback.on_epoch_end(epoch, {"loss": 1.0, "score": values[epoch]})
        if model.stop_training:
            break
    return callback


def test_a_trial_ends_at_its_last_epoch():
    callback = watch(Trial(1, {}, epochs=3))
    assert callback.history == [0.5] * 3 and callback.over and not callback.hopeless
    assert len(watch(Trial(1, {})).history) == 6


def test_a_hopeless_trial_ends_and_remembers_it():
    finished = ((0.9,) * 6,) * 5
    rule = MedianStopping("max", 6, 2)
    callback = watch(Trial(1, {}, finished=finished), rule, values=(0.1,) * 6)
    assert callback.hopeless and callback.over and len(callback.history) < 6
    again = WatchTrial(Trial(1, {}), "score", rule)
    again.restore(callback.state())
    assert again.over and again.history == callback.history


def test_an_epoch_that_is_trained_again_replaces_its_objective():
    callback = watch(Trial(1, {}), epochs=3)
    callback.on_epoch_end(1, {"score": 0.25})
    assert callback.history == [0.5, 0.25]


def test_an_unknown_objective_is_named_with_the_columns():
    callback = WatchTrial(Trial(1, {}), "val_acc")
    message = "objective='val_acc' is not a column of this training's epochs: accuracy, loss"
    with pytest.raises(ValueError, match=message):
        callback.on_epoch_end(0, {"loss": 1.0, "accuracy": 0.5})


def test_an_objective_may_be_missing_in_some_epochs_but_not_in_all():
    callback = WatchTrial(Trial(1, {}, epochs=3), "val_score", None, "max")
    callback.set_model(tf.keras.Sequential())
    callback.set_params({"epochs": 3})
    for epoch, logs in enumerate(
        [{"loss": 1.0}, {"loss": 1.0, "val_score": 0.5}, {"val_score": None}]
    ):
        callback.on_epoch_end(epoch, logs)
    assert math.isnan(callback.history[0]) and math.isnan(callback.history[2])
    assert callback.over and callback.epoch_to_keep == 2

    callback.history = []
    callback.on_epoch_end(0, {"loss": 1.0})
    callback.on_epoch_end(1, {"loss": 1.0})
    with pytest.raises(ValueError, match="objective='val_score' is not a column"):
        callback.on_epoch_end(2, {"loss": 1.0})
    callback.history = []
    with pytest.raises(ValueError, match="objective='val_score' is not a column"):
        callback.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})  # it will not come


def test_a_rank_that_only_adds_zeros_has_failed(monkeypatch):
    monkeypatch.setattr(comm, "size", lambda: 2)
    monkeypatch.setattr(comm, "all_reduce_sum", lambda tensors, name: tensors)
    with pytest.raises(AnotherRankFailedError):
        watch(Trial(1, {}))
