"""Keras's own callbacks work, and see updates as batches; training may be stopped in one."""

from __future__ import annotations

import json

import numpy as np
import tensorflow as tf

from tflbt.training import LargeBatchModel

K = tf.keras


def test_kerass_callbacks(tmp_path, samples, network):
    calls = K.callbacks
    model = LargeBatchModel.from_model(network())
    model.compile(K.optimizers.SGD(1.0), "mse", ["mae"])
    rates = []
    history = model.fit(
        *samples,
        batch_size=16,
        sub_batch_size=4,
        epochs=9,
        verbose=0,
        validation_split=0.3,
        callbacks=[
            calls.LearningRateScheduler(lambda epoch, rate: 0.1 if epoch == 0 else rate),
            calls.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0),
            calls.EarlyStopping("val_loss", min_delta=10.0, patience=4, restore_best_weights=True),
            calls.ModelCheckpoint(f"{tmp_path}/best.keras", save_best_only=True),
            calls.TensorBoard(f"{tmp_path}/tensorboard", update_freq="batch"),
            calls.CSVLogger(f"{tmp_path}/log.csv"),
            calls.BackupAndRestore(f"{tmp_path}/backup"),
            calls.TerminateOnNaN(),
            calls.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: rates.append(float(model.optimizer.lr))
            ),
        ],
    )
    assert len(history.epoch) == 5
    np.testing.assert_allclose(history.history["lr"], [0.1, 0.1, 0.05, 0.025, 0.0125])
    assert len(rates) == 5
    best = K.models.load_model(f"{tmp_path}/best.keras")
    assert best.predict(samples[0], verbose=0).shape == (30, 2)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 6
    read = tf.compat.v1.train.summary_iterator
    events = [e for f in (tmp_path / "tensorboard").rglob("*.v2") for e in read(str(f))]
    tags = {value.tag for event in events for value in event.summary.value}
    assert {"epoch_loss", "epoch_mae", "batch_loss"} <= tags


def test_a_batch_in_callbacks_is_one_update(samples, network):
    seen = []
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    each = K.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(("begin", batch)),
        on_train_batch_end=lambda batch, logs: seen.append(("end", batch, sorted(logs))),
    )
    model.fit(*samples, batch_size=16, sub_batch_size=4, verbose=0, callbacks=each)
    assert json.loads(json.dumps(seen)) == [
        ["begin", 0], ["end", 3, ["loss"]], ["begin", 4], ["end", 7, ["loss"]]
    ]  # fmt: skip


def test_a_list_of_callbacks_made_by_the_user(samples, network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    callbacks = K.callbacks.CallbackList([], add_history=True, model=model)
    model.fit(*samples, batch_size=16, sub_batch_size=4, verbose=0, callbacks=callbacks)
    assert int(model.optimizer.iterations) == 2


def test_training_may_be_stopped_in_an_update_and_go_on(samples, network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")

    def stop(batch, logs):
        model.stop_training = True

    callback = K.callbacks.LambdaCallback(on_train_batch_end=stop)
    model.fit(*samples, batch_size=16, sub_batch_size=4, epochs=5, verbose=0, callbacks=[callback])
    assert int(model.optimizer.iterations) == 1
    model.fit(*samples, batch_size=16, sub_batch_size=4, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 5
