"""Callbacks of any origin go on with their state; what cannot be kept, or matches nothing, is named."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel
from tflbt.callbacks import Checkpoint

K = tf.keras
LOSSES = [5.0, 4.0, 3.0, 3.0, 3.0, 2.9, 3.0, 3.0, 3.0, 1.0]
STOPS = 7  # epochs that are trained of them


class Counting(K.callbacks.Callback):
    """A user's: attributes that the constructor, `on_train_begin` and the epochs set, a class's list, and a file."""

    shared = []

    def __init__(self, start=0):
        super().__init__()
        self.start, self.count, self.seen, self.average = start, start, [], None
        self.rng = np.random.default_rng(0)

    def on_train_begin(self, logs=None):
        self.seen.clear()
        self.first_rate = float(self.model.optimizer.learning_rate)
        self.file = open(__file__)  # noqa: SIM115

    def on_epoch_begin(self, epoch, logs=None):
        if self.average is None:
            self.average = [tf.Variable(w) for w in self.model.weights]

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1
        self.seen.append((epoch, self.rng.normal()))
        self.shared.append(epoch)
        for average, weight in zip(self.average, self.model.weights):
            average.assign(0.9 * average + 0.1 * weight)

    def on_train_end(self, logs=None):
        self.file.close()

    def summary(self):
        averages = [v.numpy().tolist() for v in self.average]
        return self.count, self.seen, self.first_rate, averages


def keras_callbacks(folder):
    return [
        K.callbacks.EarlyStopping("scripted", patience=4, restore_best_weights=True, min_delta=0.5),
        K.callbacks.ReduceLROnPlateau("scripted", patience=1, factor=0.5, cooldown=1, verbose=0),
        K.callbacks.ReduceLROnPlateau("scripted", patience=3, factor=0.1),
        K.callbacks.ModelCheckpoint(str(folder / "best.h5"), "scripted", save_best_only=True),
        Counting(),
    ]


def scalars(callback):
    names = {name: value for name, value in vars(callback).items() if np.isscalar(value)}
    return {name: value for name, value in names.items() if "path" not in name}


def run(folder, data, model, script, epochs, place=5, named=False):
    """Trains up to an epoch, from the checkpoint that there is; returns the rates of the epochs and the callbacks."""
    callbacks = keras_callbacks(folder)
    checkpoint = Checkpoint(folder, callbacks if named else ())
    begin = checkpoint.resume(model)
    history = model.fit(
        *data, batch_size=8, epochs=epochs, initial_epoch=begin, verbose=0, shuffle=False,
        callbacks=[script(LOSSES), *callbacks[:place], checkpoint, *callbacks[place:]],
    )  # fmt: skip
    return history.history.get("lr", []), callbacks


@pytest.mark.parametrize(
    ("cls", "cut", "place", "named"),
    [
        *((K.Model, cut, 5, cut == 4) for cut in (1, 4, 6)),
        (LargeBatchModel, 4, 5, True),
        (LargeBatchModel, 10, 5, False),  # it had stopped already
        (K.Model, 4, 0, True),  # Checkpoint is not the last, and steps behind the others
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    cls, cut, place, named, tmp_path, data, make_model, script
):
    whole, resumed = make_model(cls=cls), make_model(cls=cls, seed=1)
    rates, wanted = run(tmp_path / "whole", data, whole, script, 10, named=True)
    assert len(rates) == STOPS and len(set(np.float32(rates))) > 3
    first, _ = run(tmp_path / "cut", data, make_model(cls=cls), script, cut, place, named)
    rest, found = run(tmp_path / "cut", data, resumed, script, 10, place, named)
    assert [*first, *rest] == rates
    for a, b in zip(whole.get_weights(), resumed.get_weights()):
        np.testing.assert_array_equal(a, b)
    for callback, other in zip(found[:4], wanted):
        assert scalars(callback) == scalars(other)
    assert found[4].summary() == wanted[4].summary()


def small_fit(model, data, *callbacks, begin=0, epochs=1):
    model.fit(*data, verbose=0, initial_epoch=begin, epochs=epochs, callbacks=list(callbacks))


class Handle(K.callbacks.Callback):
    """Opens something in training, which nothing can keep."""

    handle = None

    def on_epoch_end(self, epoch, logs=None):
        self.handle = open(__file__)  # noqa: SIM115
        self.handle.close()


def test_what_cannot_be_kept_is_named_once(tmp_path, data, make_model, caplog):
    seen, rates = [], {"new": 0}

    def note(epoch, logs):
        seen.append(epoch)

    notes = K.callbacks.LambdaCallback(on_epoch_end=note, on_epoch_begin=lambda epoch, logs: rates)
    writer = K.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    model = make_model()
    small_fit(model, data, Handle(), notes, writer, Checkpoint(tmp_path / "c"), epochs=3)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2, warnings
    assert "cannot keep Handle.handle, which training changes" in warnings[0]
    assert "cannot keep LambdaCallback.on_epoch_end (seen)," in warnings[1]


def plateau(patience=3):
    return K.callbacks.ReduceLROnPlateau("loss", patience=patience, min_delta=1e9)


def test_a_state_that_matches_no_callback_is_an_error_naming_both(tmp_path, data, make_model):
    for named in (True, False):
        folder, callback = tmp_path / str(named), plateau()
        model = make_model()
        small_fit(model, data, callback, Checkpoint(folder, [callback] if named else ()))
        with pytest.raises(
            ValueError, match=r"state of ReduceLROnPlateau, which is not among .*\(EarlyStopping\)"
        ):
            checkpoint = Checkpoint(folder)
            stop = K.callbacks.EarlyStopping("loss")
            small_fit(model, data, stop, checkpoint, begin=checkpoint.resume(model), epochs=2)
        checkpoint = Checkpoint(folder)
        begin = checkpoint.resume(model, without=["ReduceLROnPlateau"])
        small_fit(model, data, checkpoint, begin=begin, epochs=2)


def test_callbacks_of_a_class_are_told_apart_by_their_settings(tmp_path, data, make_model):
    first, second, model = plateau(3), plateau(7), make_model()
    small_fit(model, data, first, second, Checkpoint(tmp_path), epochs=5)
    assert (first.wait, second.wait) == (1, 4)
    checkpoint, first, second = Checkpoint(tmp_path), plateau(3), plateau(7)
    begin = checkpoint.resume(model)
    small_fit(model, data, second, first, checkpoint, begin=begin, epochs=6)
    assert (first.wait, second.wait) == (2, 5)


def test_a_changed_setting_is_the_users(tmp_path, data, make_model):
    model = make_model()
    small_fit(model, data, plateau(3), Checkpoint(tmp_path), epochs=3)
    callback, checkpoint = plateau(30), Checkpoint(tmp_path)
    small_fit(model, data, callback, checkpoint, begin=checkpoint.resume(model), epochs=9)
    assert (callback.patience, callback.wait) == (30, 8)


def test_what_the_beginning_sets_comes_back_with_a_line(tmp_path, data, make_model, caplog):
    model = make_model()
    small_fit(model, data, Counting(), plateau(1), Checkpoint(tmp_path), epochs=3)
    counting, checkpoint = Counting(), Checkpoint(tmp_path)
    begin = checkpoint.resume(model)
    small_fit(model, data, counting, plateau(1), checkpoint, begin=begin, epochs=4)
    assert counting.first_rate == pytest.approx(0.01) and float(model.optimizer.lr) < 0.01
    assert "Counting.first_rate, which on_train_begin sets" in caplog.text


def test_a_users_class_that_is_gone_and_one_behind_are_named(tmp_path, data, make_model, caplog):
    class Number(K.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.number = epoch

    class Other(Number):
        pass

    model = make_model()
    small_fit(model, data, Number(), Checkpoint(tmp_path), Other(), epochs=2)
    assert "cannot keep Other.number of a callback behind it: place Checkpoint last" in caplog.text
    checkpoint = Checkpoint(tmp_path)
    small_fit(model, data, checkpoint, begin=checkpoint.resume(model), epochs=3)
    assert "state of Number, which is not among this fit's callbacks" in caplog.text


def test_a_checkpoint_of_an_older_version_says_whose_state_it_lacks(
    tmp_path, data, make_model, caplog, monkeypatch
):
    model = make_model()
    with monkeypatch.context() as older:
        state = Checkpoint._state
        older.setattr(
            Checkpoint,
            "_state",
            lambda self: {
                k: v for k, v in state(self).items() if k not in ("attributes", "stopped")
            },
        )
        small_fit(model, data, plateau(), Checkpoint(tmp_path))
    checkpoint = Checkpoint(tmp_path)
    small_fit(model, data, plateau(), checkpoint, begin=checkpoint.resume(model), epochs=2)
    assert "kept no state of ReduceLROnPlateau: it begins anew" in caplog.text
