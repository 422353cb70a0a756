"""Searches over KerasTuner hypermodels: trials, a kill in mid-trial, what is declared."""

from __future__ import annotations

import csv
import dataclasses
import json

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel
from tflbt.distributed import comm
from tflbt.report import MetricsTable
from tflbt.tuning import HyperModelTrainer, Search, Trial, space_of

pytestmark = pytest.mark.usefixtures("settled_before")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5]], "float32")
DATA = {"epochs": 4, "batch_size": 8, "validation_data": (X[:16], Y[:16])}


def build(hp, model=LargeBatchModel, **options):
    """A net with dropout; LargeBatchModel draws the same of it after a kill."""
    inputs = tf.keras.Input([3])
    x = tf.keras.layers.Dropout(0.2)(inputs)
    x = tf.keras.layers.Dense(hp.Choice("units", [2, 4]), "tanh")(x)
    net = model(inputs, tf.keras.layers.Dense(1)(x))
    rate = hp.Float("rate", 0.01, 0.2, sampling="log")
    net.compile(tf.keras.optimizers.SGD(rate, 0.9), "mse", **options)
    return net


def plain(hp):
    """The same as a plain Keras model, which need not be traced."""
    return build(hp, tf.keras.Model, run_eagerly=True)


def build_without_shape(hp):
    """As KerasTuner's guide does it: the weights are made by the first batch."""
    net = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    rate = hp.Float("rate", 0.01, 0.2, sampling="log")
    net.compile(tf.keras.optimizers.Adam(rate), "mse", run_eagerly=True)
    return net


class KillAt(tf.keras.callbacks.Callback):
    """Ends the process, as far as a test can, in the given epoch (from 1) of the given one of the trials."""

    trials = 0  # of the class: the callbacks are copies

    def __init__(self, trial, epoch):
        super().__init__()
        self.at = trial, epoch

    def on_train_begin(self, logs=None):
        KillAt.trials += 1

    def on_epoch_end(self, epoch, logs=None):
        if (KillAt.trials, epoch + 1) == self.at:
            raise KeyboardInterrupt


def rows(directory):
    """The table of trials without the times."""
    with (directory / "trials.csv").open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def losses(directory, number):
    table = MetricsTable(directory / "trials" / f"{number:04d}" / "metrics.csv").read()
    return [(row["epoch"], row["loss"], row["val_loss"], row["learning_rate"]) for row in table]


class DoubleOnce(tf.keras.callbacks.Callback):
    """Makes the batch larger after the first epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.model.batch_size *= 2


def early():
    """Callbacks whose work so far a kill would wipe out, three of them without a word on their state."""
    return [
        DoubleOnce(),
        tf.keras.callbacks.ReduceLROnPlateau("val_loss", 0.5, patience=1, min_delta=0.5),
        tf.keras.callbacks.EarlyStopping("val_loss", 0.2, 2, restore_best_weights=True),
    ]


@pytest.mark.parametrize(
    ("hypermodel", "trials", "options"),
    [
        (build, 1, {"sub_batch_size": 4, "epochs": 6, "callbacks": early()}),
        (build_without_shape, 3, {"shuffle": False}),
    ],
)
def test_killed_in_mid_trial_and_resumed_equals_uninterrupted(
    tmp_path, hypermodel, trials, options
):
    options, space = {**DATA, **options}, space_of(hypermodel)

    def search(directory, **more):
        return Search(directory, space, "val_loss", max_trials=trials, verbose=0, **more)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    result = search(whole).run(HyperModelTrainer(hypermodel, X, Y, **options))
    assert result.trials == trials and {row["status"] for row in rows(whole)} == {"completed"}
    assert result.objective == min(float(row["objective"]) for row in rows(whole))
    KillAt.trials = 0
    mine = {**options, "callbacks": [*options.get("callbacks", []), KillAt(min(2, trials), 2)]}
    with pytest.raises(KeyboardInterrupt):
        search(killed).run(HyperModelTrainer(hypermodel, X, Y, **mine))
    assert [row["status"] for row in rows(killed)] == [*["completed"] * (trials > 1), "running"]
    assert [path.name for path in killed.glob(f"trials/*{min(2, trials)}/checkpoints/epoch_*")] == [
        "epoch_00001"
    ]
    again = search(killed, resume=True)
    resumed = again.run(HyperModelTrainer(hypermodel, X, Y, **options))
    assert resumed.checkpoint.relative_to(killed) == result.checkpoint.relative_to(whole)
    assert dataclasses.replace(resumed, checkpoint=result.checkpoint) == result
    assert rows(killed) == rows(whole)
    for number in range(1, trials + 1):
        assert losses(killed, number) == losses(whole, number)
    if "callbacks" in options:  # they did something in the trial that was killed
        table = losses(whole, 1)
        assert len(table) < 6 and len({rate for *_, rate in table}) > 1


def test_a_trial_that_was_killed_after_its_last_epoch_trains_no_more(tmp_path):
    trial, values = Trial(1, {"rate": 0.1}), []
    for _ in range(2):
        seen = tf.keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: values.append(logs)
        )
        HyperModelTrainer(build, X, Y, **DATA)(trial, tmp_path, [seen])
    assert len(values) == 4 and len(MetricsTable(tmp_path / "metrics.csv").read()) == 4


def test_early_stopping_is_not_forgotten_by_a_kill_right_after_it(tmp_path):
    stop = tf.keras.callbacks.EarlyStopping("loss", 1e9, 1)
    trial = Trial(1, {"rate": 0.1, "tuner/epochs": 4}, epochs=4)
    for _ in range(2):
        HyperModelTrainer(plain, X, Y, **DATA, seed=3, callbacks=stop)(trial, tmp_path, [])
        assert len(MetricsTable(tmp_path / "metrics.csv").read()) == 2
    assert stop.model is None  # a copy was used
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "seed": 3,
        "values": {"rate": 0.1},
    }


def test_hyperband_goes_on_with_trials_that_it_ended_early(tmp_path):
    space = keras_tuner.HyperParameters()
    space.Float("rate", 0.01, 0.2)
    bracket = {"tuner": "Hyperband", "tuner_options": {"factor": 3}, "max_trials": 4, "epochs": 3}
    arguments = {**DATA, "shuffle": False}
    arguments.pop("epochs")  # the tuner's
    Search(tmp_path, space, "val_loss", verbose=0, **bracket).run(
        HyperModelTrainer(plain, X, Y, **arguments)
    )
    assert [row["epochs"] for row in rows(tmp_path)] == ["1", "1", "1", "3"]
    last = rows(tmp_path)[-1]
    first, later = losses(tmp_path, int(last["continues"])), losses(tmp_path, 4)
    assert last["status"] == "completed" and len(later) == 3 and later[:1] == first


def test_fewer_epochs_than_the_tuners_are_refused(tmp_path):
    with pytest.raises(ValueError, match="^epochs=4 are fewer than the 9 of the tuner"):
        HyperModelTrainer(plain, X, Y, **DATA)(Trial(1, {}, epochs=9), tmp_path, [])


class WithAFit(keras_tuner.HyperModel):
    """Tunes how it is trained, and the model by a condition."""

    def __init__(self, forwards=("callbacks", "initial_epoch")):
        super().__init__()
        self.forwards = forwards
        self.seen = []

    def declare_hyperparameters(self, hp):
        hp.Choice("batch_size", [8, 20])

    def build(self, hp):
        kind = hp.Choice("kind", ["plain", "deep"])
        with hp.conditional_scope("kind", ["deep"]):
            if kind == "deep":
                depth = hp.Int("depth", 2, 3)
                for layer in range(depth):
                    hp.Choice(f"units_{layer}", [2, 4])
        self.seen.append(dict(hp.values))
        return build_without_shape(hp)

    def fit(self, hp, model, *args, **kwargs):
        forwarded = {name: kwargs[name] for name in self.forwards if name in kwargs}
        return model.fit(
            *args,
            batch_size=hp.get("batch_size"),
            epochs=2,
            verbose=0,
            validation_data=(X, Y),
            **forwarded,
        )


def test_what_is_declared_under_conditions_and_in_loops_is_found_and_tried(tmp_path):
    hypermodel = WithAFit()
    space = space_of(hypermodel)
    names = {"batch_size", "kind", "depth", "units_0", "units_1", "units_2", "rate"}
    assert {entry.name for entry in space.space} == names
    conditions = {
        entry.name: [(c.name, c.values) for c in entry.conditions] for entry in space.space
    }
    assert conditions["units_2"] == conditions["depth"] == [("kind", ["deep"])]
    assert conditions["rate"] == []
    assert "depth" not in space.values and space.values["kind"] == "plain"

    hypermodel.seen.clear()
    search = Search(tmp_path, space, "val_loss", max_trials=3, seed=1, verbose=0)
    result = search.run(HyperModelTrainer(hypermodel, X, Y))
    table = rows(tmp_path)
    assert [row["status"] for row in table] == ["completed"] * 3 and result.number
    assert {row["kind"] for row in table} == {"plain", "deep"}
    for row, seen in zip(table, hypermodel.seen):
        assert row["kind"] == seen["kind"] and row["depth"] == str(seen.get("depth", ""))
        folder = tmp_path / "trials" / f"{int(row['trial']):04d}"
        updates = MetricsTable(folder / "metrics.csv").read()[-1]["updates"]
        assert updates == 2 * 40 // int(row["batch_size"])


@pytest.mark.parametrize(
    ("forwards", "message"),
    [
        ((), "hypermodel.fit trained no epoch with the callbacks that it got"),
        (("callbacks",), "^initial_epoch=0 must be 2, where the trial was left"),
    ],
)
def test_a_fit_that_drops_its_arguments_is_refused(tmp_path, forwards, message):
    trial = Trial(1, {})
    HyperModelTrainer(WithAFit(), X, Y)(trial, tmp_path / "good", [])
    folder = tmp_path / ("good" if forwards else "new")
    with pytest.raises(ValueError, match=message):
        HyperModelTrainer(WithAFit(forwards), X, Y)(trial, folder, [])


def test_what_no_trial_varies_is_reported_once(tmp_path, caplog):
    trainer = HyperModelTrainer(plain, X, Y)
    for number in (1, 2):
        trainer(Trial(number, {"rate": 0.1}), tmp_path / str(number), [])
    warnings = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in warnings if "not in the space" in line] == ["units"]


def test_nan_is_a_trial_that_diverged_and_the_rest_goes_on(tmp_path):
    def by_rate(hp):
        net = plain(keras_tuner.HyperParameters())
        rate = hp.Choice("rate", [1e30, 0.01])
        net.compile(tf.keras.optimizers.SGD(rate), "mse", run_eagerly=True)
        return net

    space = space_of(by_rate)
    result = Search(tmp_path, space, "val_loss", tuner="GridSearch", verbose=0).run(
        HyperModelTrainer(by_rate, X * 1e9, Y, epochs=1, validation_data=(X, Y))
    )
    assert [row["status"] for row in rows(tmp_path)] == ["diverged", "completed"]
    assert result.number == 2
    assert np.isnan(MetricsTable(tmp_path / "trials/0001/metrics.csv").read()[-1]["loss"])


def test_one_seed_gives_one_model_and_another_another():
    def first(seed):
        return HyperModelTrainer(build, X, Y, seed=seed).build({"units": 4}).get_weights()[0]

    np.testing.assert_array_equal(first(0), first(0))
    assert first(0).shape == (3, 4) and np.abs(first(0) - first(1)).max() > 0.1


@pytest.mark.parametrize(
    ("hypermodel", "message"),
    [
        (lambda hp: None, "hypermodel.build gave None: it must return a compiled model"),
        (lambda hp: tf.keras.Sequential(), "it must return a compiled model"),
        (plain, "plain Functional, which 2 ranks would train apart"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused(monkeypatch, hypermodel, message):
    monkeypatch.setattr(comm, "size", lambda: 2)
    with pytest.raises(ValueError, match=message):
        HyperModelTrainer(hypermodel, X, Y).build({})


def test_arguments_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="^seed=-1 must be"):
        HyperModelTrainer(build, seed=-1)
    callback = tf.keras.callbacks.Callback()
    callback.file = (line for line in ())
    with pytest.raises(ValueError, match="^callbacks=.* cannot be copied"):
        HyperModelTrainer(build, X, Y, callbacks=[callback])
