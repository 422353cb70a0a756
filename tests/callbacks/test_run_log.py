"""RunLog in real fits: rows, events, lines, resuming."""

from __future__ import annotations

import math
import re

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tflbt.callbacks.non_finite_loss import NonFiniteLoss
from tflbt.callbacks.run_log import RunLog
from tflbt.data import BatchAugmentation
from tflbt.runs.run_directory import RunDirectory
from tflbt.training import LargeBatchModel, SmallLossDiscarding

X, Y = tf.random.stateless_normal([48, 3], [0, 1]), tf.ones([48, 1])


def model(optimizer="sgd", **compile_arguments):
    net = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(3,))])
    net.compile(optimizer, "mse", metrics=["mae"], **compile_arguments)
    return net


def fit(net, log, epochs=2, verbose=0, callbacks=(), **arguments):
    return net.fit(
        X, Y, batch_size=16, epochs=epochs, verbose=verbose, callbacks=[*callbacks, log],
        validation_data=(X, Y), **arguments,
    )  # fmt: skip


def steps(folder, tag="train/loss"):
    return [event.step for event in EventAccumulator(str(folder)).Reload().Tensors(tag)]


def test_instances_and_discarded_samples_have_columns_of_their_own(tmp_path):
    inputs = tf.keras.Input([3])
    net = LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
    net.compile("sgd", "mse")
    log = RunLog(RunDirectory.create(tmp_path, {}), verbose=0)
    net.fit(
        X, Y, batch_size=32, epochs=2, verbose=0, callbacks=[log],
        batch_augmentation=BatchAugmentation(2), small_loss=SmallLossDiscarding(0.25, epochs=1),
    )  # fmt: skip
    rows = log.run_directory.metrics.read()
    assert [row["samples"] for row in rows] == [96, 192]
    assert [row["distinct_samples"] for row in rows] == [48, 96]
    assert [row["discarded_share"] for row in rows] == [0.25, 0.0]
    assert [row["updates"] for row in rows] == [3, 6]


class Schedule:
    """Stands for a callback with something to say about each epoch."""

    def __init__(self):
        """Starts with nothing."""
        self.asked = 0

    def epoch_columns(self):
        self.asked += 1
        return {
            "phase": "exploration",
            "eigenvalue": tf.constant(2.5),
            "decays": 0,
            "seconds_curvature": 0.25,
        }


def test_a_row_holds_what_keras_and_the_sources_say(tmp_path):
    log = RunLog(RunDirectory.create(tmp_path, {"seed": 1}), sources=[Schedule()], verbose=0)
    history = fit(model(), log).history
    rows = log.run_directory.metrics.read()
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [row["updates"] for row in rows] == [3, 6]
    for name in ("loss", "mae", "val_loss", "val_mae"):
        assert [row[name] for row in rows] == history[name]  # to the last bit
    assert rows[0]["learning_rate"] == pytest.approx(0.01)
    assert rows[0]["samples"] is None and rows[0]["batch_size"] is None
    assert rows[1]["eigenvalue"] == 2.5 and rows[1]["phase"] == "exploration"
    assert 0 < rows[0]["seconds"] < 60
    assert list(rows[0])[:8] == (
        ["epoch", "updates", "samples", "loss", "mae", "val_loss", "val_mae", "learning_rate"]
    )


def test_samples_and_batch_size_of_a_model_that_counts_them(tmp_path):
    net = model()
    net.batch_size, net.samples_seen = 16, tf.Variable(96, dtype=tf.int64)
    log = RunLog(tmp_path, verbose=0)
    fit(net, log, epochs=1)
    row = log.run_directory.metrics.read()[0]
    assert (row["samples"], row["batch_size"]) == (96, 16)


def test_the_learning_rate_is_the_one_the_epoch_used(tmp_path):
    """A schedule that decays at the epoch's end, before RunLog, does not change that epoch's."""
    halve = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: net.optimizer.learning_rate.assign(0.5 / (epoch + 2))
    )
    net = model(tf.keras.optimizers.SGD(0.5))
    log = RunLog(tmp_path, verbose=0)
    fit(net, log, epochs=3, callbacks=[halve])
    rates = [row["learning_rate"] for row in log.run_directory.metrics.read()]
    assert rates == pytest.approx([0.5, 0.25, 0.5 / 3])


@pytest.mark.parametrize("when", ["epoch", "batch"])
def test_the_batch_size_is_that_of_the_last_update(tmp_path, when):
    """A callback that grows the batch before RunLog, at an epoch's or an update's end, changes the next one's."""
    net = model()
    net.batch_size = 16

    def double(batch_or_epoch, logs):
        net.batch_size *= 2

    grow = tf.keras.callbacks.LambdaCallback(**{f"on_{when}_end": double})
    log = RunLog(tmp_path, verbose=0)
    fit(net, log, callbacks=[grow])  # two epochs of three updates
    sizes = [row["batch_size"] for row in log.run_directory.metrics.read()]
    assert sizes == {"epoch": [16, 32], "batch": [16 * 2**2, 16 * 2**5]}[when]


@pytest.mark.parametrize("kind", ["schedule", "legacy", "loss_scale"])
def test_any_optimizer_has_a_learning_rate(tmp_path, kind):
    schedule = tf.keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    optimizer = {
        "schedule": lambda: tf.keras.optimizers.Adam(schedule),
        "legacy": lambda: tf.keras.optimizers.legacy.SGD(0.1),
        "loss_scale": lambda: tf.keras.mixed_precision.LossScaleOptimizer(
            tf.keras.optimizers.SGD(0.1)
        ),
    }[kind]()
    log = RunLog(tmp_path, verbose=0)
    fit(model(optimizer), log, epochs=1)
    row = log.run_directory.metrics.read()[0]
    assert row["updates"] == 3
    assert row["learning_rate"] == pytest.approx(0.025 if kind == "schedule" else 0.1)


def test_a_loss_that_is_not_a_number_is_written(tmp_path):
    log = RunLog(tmp_path, verbose=0)
    net = model(tf.keras.optimizers.SGD(1e30))
    fit(net, log, epochs=2)
    assert not math.isfinite(log.run_directory.metrics.read()[-1]["loss"])


def test_tensorboard_gets_scalars_and_hyper_parameters(tmp_path):
    run = RunDirectory.create(tmp_path, {"model": {"depth": 20}})
    fit(model(), RunLog(run, sources=[Schedule()], verbose=0))
    assert steps(run.tensorboard) == [1, 2]
    tags = EventAccumulator(str(run.tensorboard)).Reload().Tags()["tensors"]
    assert {"train/mae", "val/loss", "learning_rate", "eigenvalue", "updates"} <= set(tags)
    assert "_hparams_/session_start_info" in tags


def test_a_resumed_run_writes_the_epochs_after_the_checkpoint_anew(tmp_path):
    run = RunDirectory.create(tmp_path, {"seed": 1})
    fit(model(), RunLog(run, verbose=0), epochs=4)
    before = run.metrics.read()
    resumed = RunDirectory.open(tmp_path, {"seed": 1})
    fit(model(), RunLog(resumed, verbose=0), initial_epoch=2, epochs=5)
    rows = run.metrics.read()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[:2] == before[:2]
    assert rows[2]["updates"] == 3  # of the new model: written anew
    assert steps(run.tensorboard) == [1, 2, 3, 4, 5]


def test_a_run_resumed_before_its_first_checkpoint_starts_over(tmp_path):
    run = RunDirectory.create(tmp_path, {})
    fit(model(), RunLog(run, verbose=0), epochs=3)
    fit(model(), RunLog(RunDirectory.open(tmp_path), verbose=0), epochs=1)
    assert [row["epoch"] for row in run.metrics.read()] == [1]


def test_the_rows_of_another_run_are_not_dropped(tmp_path):
    fit(model(), RunLog(tmp_path, verbose=0))
    before = (tmp_path / "metrics.csv").read_bytes()
    with pytest.raises(FileExistsError, match=r"another run.*metrics\.csv"):
        fit(model(), RunLog(tmp_path, verbose=0))
    assert (tmp_path / "metrics.csv").read_bytes() == before


def test_fitting_twice_goes_on_counting(tmp_path):
    log, net = RunLog(tmp_path, verbose=0), model()
    fit(net, log)
    fit(net, log)
    rows = log.run_directory.metrics.read()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["updates"] for row in rows] == [3, 6, 9, 12]
    assert steps(tmp_path / "tensorboard") == [1, 2, 3, 4]


def test_an_interrupted_fit_leaves_whole_files_and_can_go_on(tmp_path):
    def stop(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    log, net = RunLog(tmp_path, verbose=0), model()
    interrupt = tf.keras.callbacks.LambdaCallback(on_epoch_begin=stop)
    with pytest.raises(KeyboardInterrupt):
        fit(net, log, epochs=5, callbacks=[interrupt])
    assert [row["epoch"] for row in log.run_directory.metrics.read()] == [1, 2]
    assert steps(tmp_path / "tensorboard") == [1, 2]
    fit(net, log, initial_epoch=2, epochs=3)
    assert steps(tmp_path / "tensorboard") == [1, 2, 3]


LINE = re.compile(
    r"^epoch \d/2 \| loss \S+ +mae \S+ +\| val_loss \S+ +val_mae \S+ +\| "
    r"exploration  lr 0\.01 +eigenvalue 2\.5 +decays 0 \| \d+\.\d s$"
)


@pytest.mark.parametrize("keras_verbose", [0, 1, 2])
def test_one_line_an_epoch_whatever_keras_prints(tmp_path, capsys, keras_verbose):
    fit(model(), RunLog(tmp_path, sources=[Schedule()]), verbose=keras_verbose)
    shown = re.sub("\x08+", "", capsys.readouterr().out)
    assert len([line for line in shown.splitlines() if LINE.match(line)]) == 2
    if keras_verbose == 0:
        assert len(shown.splitlines()) == 2


def test_a_diverged_epoch_has_a_row_until_it_is_trained_anew(tmp_path):
    net, log = model(tf.keras.optimizers.SGD(1e-3)), RunLog(tmp_path / "run", verbose=0)
    blow_up = tf.keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: net.optimizer.learning_rate.assign(1e30 * epoch)
    )
    with pytest.raises(FloatingPointError):
        fit(net, log, epochs=3, callbacks=[blow_up, NonFiniteLoss()])
    log.diverged()
    first, last = log.run_directory.metrics.read()
    assert math.isfinite(first["loss"]) and math.isnan(last["loss"])
    assert (last["epoch"], last["val_loss"]) == (2, None) and last["learning_rate"] > 1e29
    net, log = model(), RunLog(RunDirectory(tmp_path / "run"), verbose=0)
    fit(net, log, epochs=2, initial_epoch=1)
    assert [math.isfinite(row["loss"]) for row in log.run_directory.metrics.read()] == [True] * 2


def test_quiet(tmp_path, capsys):
    fit(model(), RunLog(tmp_path, verbose=0))
    assert capsys.readouterr().out == ""


def test_a_source_must_offer_columns(tmp_path):
    with pytest.raises(ValueError, match="epoch_columns"):
        RunLog(tmp_path, sources=[object()])


def test_verbose_is_checked(tmp_path):
    with pytest.raises(ValueError, match="verbose='loud'"):
        RunLog(tmp_path, verbose="loud")
