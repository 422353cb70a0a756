"""The time account finds the time where it was spent: in slow input, slow layers, slow ranks, slow validation."""

from __future__ import annotations

import time
import types

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel
from tflbt.callbacks.run_log import RunLog
from tflbt.callbacks.time_account import TimeAccount

PAUSE = 0.1
X, Y = np.ones([16, 4], "float32"), np.ones([16, 1], "float32")


def pause(value):
    time.sleep(PAUSE)
    return value


def slowly(value):
    """The same value, some time later."""
    return tf.ensure_shape(tf.py_function(pause, [value], value.dtype), value.shape)


def network(cls=LargeBatchModel, slow=False):
    inputs = tf.keras.Input([4])
    ready = tf.keras.layers.Lambda(slowly)(inputs) if slow else inputs
    model = cls(inputs, tf.keras.layers.Dense(1)(ready))
    model.compile(tf.keras.optimizers.SGD(0.01), "mse")
    return model


def batches(slow=False):
    """Four batches of four samples."""
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    return data.map(lambda x, y: (slowly(x), y)) if slow else data


def rows(folder, model, data, epochs=2, **arguments):
    account = TimeAccount()
    log = RunLog(folder, [account], verbose=0)
    model.fit(data, epochs=epochs, verbose=0, callbacks=[account, log], **arguments)
    return log.run_directory.metrics.read()


PARTS = ("input", "computation", "communication", "validation")


@pytest.mark.parametrize("slow", ["input", "computation", "validation"])
def test_time_is_found_where_it_was_spent(slow, tmp_path):
    model = network(slow=slow == "computation")
    second = rows(
        tmp_path, model, batches(slow == "input"),
        validation_data=batches(slow == "validation") if slow != "computation" else None,
    )[1]  # fmt: skip
    spent = {part: second[f"seconds_{part}"] for part in PARTS}
    # Some of a wait for input may lie beside other work of the update: data are prefetched.
    assert spent[slow] >= 3 * PAUSE
    assert all(seconds >= 0 for seconds in spent.values())
    assert sum(spent.values()) <= second["seconds"]
    assert max(spent, key=spent.__getitem__) == slow


def test_each_epoch_has_its_own_account(tmp_path):
    """A stub in the place of the updates: two seconds of input an update, then three."""
    model = network(tf.keras.Model)
    model.update_state = types.SimpleNamespace(seconds=tf.Variable(np.full(3, 100.0)), timed=True)
    account = TimeAccount()
    account.set_model(model)
    found = []
    for seconds in ([2.0, 20.0, 0.5], [3.0, 30.0, 0.25]):
        account.on_epoch_begin(0)
        for _ in range(2):
            model.update_state.seconds.assign_add(seconds)
        found.append(account.epoch_columns())
    assert found == [
        {
            "seconds_input": 4.0,
            "seconds_computation": 40.0,
            "seconds_communication": 1.0,
            "seconds_validation": 0.0,
        },
        {
            "seconds_input": 6.0,
            "seconds_computation": 60.0,
            "seconds_communication": 0.5,
            "seconds_validation": 0.0,
        },
    ]


def test_validation_counts_for_the_epochs_that_have_it(tmp_path):
    found = rows(
        tmp_path, network(), batches(), 3, validation_data=batches(slow=True), validation_freq=2
    )
    seconds = [row["seconds_validation"] for row in found]
    assert seconds[0] == seconds[2] == 0 and seconds[1] >= 4 * PAUSE


def test_of_a_plain_keras_model_validation_alone_is_known(tmp_path):
    (row,) = rows(tmp_path, network(tf.keras.Model), batches(), 1, validation_data=batches(True))
    assert [name for name in row if name.startswith("seconds_")] == ["seconds_validation"]
    assert 4 * PAUSE <= row["seconds_validation"] <= row["seconds"]


def test_its_place_in_the_list_of_callbacks_does_not_matter(tmp_path):
    model, account = network(slow=True), TimeAccount()
    log = RunLog(tmp_path, [account], verbose=0)
    model.fit(batches(), epochs=2, verbose=0, callbacks=[log, account])
    for row in log.run_directory.metrics.read():
        assert 4 * PAUSE <= row["seconds_computation"] <= row["seconds"]


def test_updates_read_the_clock_once_it_is_asked_for(tmp_path):
    model = network()
    for callbacks, timed in ([], False), ([TimeAccount()], True), ([], True):
        model.fit(X, Y, verbose=0, callbacks=callbacks)
        assert (model.update_state.seconds.numpy() > 0).any() == timed
        model.update_state.seconds.assign([0.0, 0.0, 0.0])
