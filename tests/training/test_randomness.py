"""Randomness goes on from fit to fit: the order of samples, the transform's seeds and the masks of random layers."""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.updates_seen import K, Updates, model_of, rows
from tflbt.callbacks import Checkpoint
from tflbt.control.progress import Progress
from tflbt.training import LargeBatchModel


def noise(x, seeds):
    """A transform that depends on the seeds alone."""
    return x + tf.cast(seeds[:, :1] % 97, x.dtype) / 97.0


def random_model():
    """Everything random takes part: order, transform, dropout."""
    K.utils.set_random_seed(1)
    inputs = K.Input([4])
    model = LargeBatchModel(inputs, K.layers.Dense(1)(K.layers.Dropout(0.5)(inputs)))
    model.compile(K.optimizers.SGD(0.01, momentum=0.5), "mse")
    return model


X = np.random.default_rng(0).standard_normal((12, 4)).astype("float32")


def fit(model, **arguments):
    """Trains; returns the losses, which tell any difference in order, seeds or masks."""
    options = {"batch_size": 4, "sub_batch_size": 2, "verbose": 0, "transform": noise, **arguments}
    return model.fit(X, X[:, :1], **options).history["loss"]


@functools.cache
def uninterrupted():
    """The losses and weights of a fit of six epochs."""
    model = random_model()
    return fit(model, epochs=6), model.get_weights()


@pytest.fixture
def six(generators):
    """The same, made once; what is compared with it draws from generators too."""
    return uninterrupted()


@pytest.mark.parametrize(
    "calls",
    [
        [{"epochs": 3}, {"epochs": 6, "initial_epoch": 3}],
        [{"epochs": 3}, {"epochs": 3}],
        6 * [{"epochs": 1}],
        [{"epochs": e + 1, "initial_epoch": e} for e in range(6)],
        [{"epochs": 4}, {"epochs": 1}, {"epochs": 2, "initial_epoch": 1}],
    ],
    ids=["initial_epoch", "again", "loop", "loop of initial_epoch", "mixed"],
)
def test_fits_after_each_other_are_the_uninterrupted_run_bit_for_bit(calls, six):
    model = random_model()
    losses = [loss for call in calls for loss in fit(model, **call)]
    assert losses == six[0]
    for found, wanted in zip(model.get_weights(), six[1]):
        np.testing.assert_array_equal(found, wanted)


def test_a_later_initial_epoch_and_compile_say_where_randomness_begins(generators):
    model = random_model()
    fit(model)
    fit(model, initial_epoch=5, epochs=6)
    assert model.update_state.progress == Progress(drawn=6, finished=6)
    model.compile(K.optimizers.SGD(0.01, momentum=0.5), "mse")
    model.set_weights(random_model().get_weights())
    assert fit(model) == fit(random_model())


def test_a_fit_that_failed_begins_its_epoch_again(generators, six):
    class Fails(K.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    model = random_model()
    with pytest.raises(KeyboardInterrupt):
        fit(model, epochs=6, callbacks=[Fails()])
    assert fit(model, epochs=6, initial_epoch=2) == six[0][2:]


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


def orders(model, **arguments):
    """The samples of every update of a fit."""
    updates = Updates()
    options = {"batch_size": 4, "verbose": 0, **arguments}
    options["callbacks"] = [updates, *options.get("callbacks", ())]
    model.fit(*rows(12), **options)
    return updates.samples


def test_checkpoints_keep_how_many_epochs_have_drawn(tmp_path):
    model, again = model_of(12), model_of(12)
    wanted = orders(model, epochs=2) + orders(model, epochs=3)
    found = orders(again, epochs=2)

    def stop(epoch, logs):
        again.stop_training = True

    stopping = K.callbacks.LambdaCallback(on_epoch_end=stop)
    found += orders(again, epochs=3, callbacks=[stopping, checkpoint := Checkpoint(tmp_path)])
    resumed, checkpoint = model_of(12), Checkpoint(tmp_path)
    assert checkpoint.resume(resumed) == 1
    checkpoint.ended_itself = False
    stopping = K.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    found += orders(resumed, epochs=3, initial_epoch=1, callbacks=[stopping, checkpoint])
    assert found == wanted
    earlier = Checkpoint(tmp_path)  # an earlier state of a model that has trained further
    assert earlier.resume(model) == 3
    assert model.update_state.progress.drawn == 5


def test_kerass_backup_goes_on_with_the_epochs_own_order(tmp_path):
    class Fails(K.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    wanted, found = orders(model_of(12), epochs=4), []
    for more in ([Fails()], []):
        updates, model = Updates(), model_of(12)
        backup = K.callbacks.BackupAndRestore(f"{tmp_path}/backup")
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(
                *rows(12), batch_size=4, epochs=4, verbose=0, callbacks=[*more, updates, backup]
            )
        found += updates.samples
    assert found == wanted


def test_a_loaded_model_says_that_it_begins_again(tmp_path, caplog):
    model = model_of(12)
    first = orders(model)
    model.save(f"{tmp_path}/model.keras")
    loaded = K.models.load_model(
        f"{tmp_path}/model.keras", custom_objects={"mean_output": model.loss}
    )
    assert orders(loaded) == first
    assert "has made 3 updates" in caplog.text
    caplog.clear()
    assert orders(loaded, epochs=2, initial_epoch=1) != first
    assert "has made" not in caplog.text
