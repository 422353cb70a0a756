"""Random layers resume as they would have gone on, and Keras's own callbacks work."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import LargeBatchModel

K = tf.keras


@pytest.fixture
def generators():
    """Keras's generator-based randomness, which `tflbt.train` switches on."""
    was = K.backend.experimental.is_tf_random_generator_enabled()
    K.backend.experimental.enable_tf_random_generator()
    yield
    if not was:
        K.backend.experimental.disable_tf_random_generator()


def with_dropout():
    K.utils.set_random_seed(1)
    inputs = K.Input([5])
    hidden = K.layers.Dropout(0.5)(K.layers.Dense(8)(K.layers.GaussianNoise(0.3)(inputs)))
    model = LargeBatchModel(inputs, K.layers.Dense(2)(hidden))
    model.compile(K.optimizers.SGD(0.1), "mse")
    return model


def test_dropout_resumes_as_it_would_have_gone_on(generators, samples):
    def fit(model, **arguments):
        model.fit(*samples, batch_size=16, sub_batch_size=4, verbose=0, **arguments)
        return model.get_weights()

    through = fit(with_dropout(), epochs=4)
    first = fit(with_dropout(), epochs=2)
    resumed = with_dropout()
    resumed.set_weights(first)
    for found, expected in zip(fit(resumed, epochs=4, initial_epoch=2), through):
        np.testing.assert_array_equal(found, expected)
    other_seed = fit(with_dropout(), epochs=4, seed=7)
    assert not np.array_equal(other_seed[0], through[0])


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
