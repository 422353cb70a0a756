"""The contract of every callback that tflbt exports: fit, fit twice, interrupted."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from tests.callbacks.conftest import as_new
from tflbt import LargeBatchModel, callbacks, schedules
from tflbt.benchmarks.device import counting_reads
from tflbt.training.keras_internals import TensorLogs

EPOCHS = 6
LOSSES = [1.0, 1.0, 2.0, 3.0, 4.0, 5.0]  # flat at 2, then rising

MAKERS = {
    "AdaptiveBatchSize": lambda folder, data: callbacks.AdaptiveBatchSize(
        32, kappa=1, curvature_data=data, tau=3
    ),
    "Checkpoint": lambda folder, data: callbacks.Checkpoint(folder / "other"),
    "CurvatureMonitor": lambda folder, data: callbacks.CurvatureMonitor(data, every=2),
    "DistanceMonitor": lambda folder, data: callbacks.DistanceMonitor(folder / "distance.csv", 3),
    "FirstEpochsBatch": lambda folder, data: callbacks.FirstEpochsBatch(16, 0.02, epochs=5),
    "GrowBatchSize": lambda folder, data: callbacks.GrowBatchSize([1, 2], 2.0, max_batch_size=16),
    "MarginMonitor": lambda folder, data: callbacks.MarginMonitor(
        (data[0], (data[1][:, 0] > 0).astype(int)), every=2
    ),
    "NonFiniteLoss": lambda folder, data: callbacks.NonFiniteLoss(),
    "RateCurve": lambda folder, data: callbacks.RateCurve(
        [schedules.CosineWarmup(0.5), schedules.PolynomialDecay(20, 1.5, begin=0.5)], "updates"
    ),
    "RunLog": lambda folder, data: callbacks.RunLog(folder / "run", verbose=0),
    "SignalToNoise": lambda folder, data: callbacks.SignalToNoise(data, 8, 2, every=2),
    "StabilityMonitor": lambda folder, data: callbacks.StabilityMonitor(data, batches=2, every=2),
    "StepDecay": lambda folder, data: callbacks.StepDecay([1, 3], 0.5),
    "TimeAccount": lambda folder, data: callbacks.TimeAccount(),
    "TrustRatioMonitor": lambda folder, data: callbacks.TrustRatioMonitor(),
    "TwoPhaseSchedule": lambda folder, data: callbacks.TwoPhaseSchedule(
        patience=1, extra_fraction=0, curvature_data=data, monitor="scripted"
    ),
    "Warmup": lambda folder, data: callbacks.Warmup(3.5),
}
# It ends the job, after a Checkpoint; its own tests and those of launch/relaunch.sh go through its life.
ENDING_THE_JOB = {"ElasticRanks"}
each = pytest.mark.parametrize("name", sorted(set(callbacks.__all__) - ENDING_THE_JOB))
CHANGING_THE_BATCH = ("AdaptiveBatchSize", "FirstEpochsBatch", "GrowBatchSize")
SETTING_THE_RATE = (*CHANGING_THE_BATCH, "RateCurve", "StepDecay", "TwoPhaseSchedule", "Warmup")
# One callback says what the batch is.
TOGETHER = sorted(set(MAKERS) - {"FirstEpochsBatch", "GrowBatchSize"})


class PowerCut(tf.keras.callbacks.Callback):
    """Stops a run in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch
        self.now = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch:
            raise KeyboardInterrupt


def test_every_export_is_in_the_table():
    assert set(MAKERS) | ENDING_THE_JOB == set(callbacks.__all__)


@each
@pytest.mark.parametrize("cls", [tf.keras.Model, LargeBatchModel])
def test_fits_and_fits_again(name, cls, tmp_path, data, make_model, script):
    if name in CHANGING_THE_BATCH and cls is not LargeBatchModel:
        pytest.skip("plain Keras cannot change the batch inside fit; their own tests see the error")
    model = make_model(cls=cls)
    callback = MAKERS[name](tmp_path, data)
    for _ in range(2):
        history = model.fit(
            *data, batch_size=8, epochs=3, verbose=0, callbacks=[script(LOSSES), callback]
        )
        assert len(history.history["loss"]) == 3
        assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize("name", sorted(set(MAKERS) - set(SETTING_THE_RATE)))
def test_a_callback_that_only_watches_changes_nothing(name, tmp_path, data, make_model, script):
    plain, watched = make_model(), make_model()
    plain.fit(*data, epochs=2, verbose=0, shuffle=False)
    watched.fit(
        *data,
        epochs=2,
        verbose=0,
        shuffle=False,
        callbacks=[script(LOSSES), MAKERS[name](tmp_path, data)],
    )
    for a, b in zip(plain.get_weights(), watched.get_weights()):
        np.testing.assert_array_equal(a, b)


def run(folder, names, data, model, script, cut=None, resume=False):
    """Trains with a checkpoint an epoch; returns the history of the epochs of this start."""
    made = [MAKERS[name](folder, data) for name in names]
    checkpoint = callbacks.Checkpoint(folder / "checkpoints", made)
    begin = checkpoint.resume(model) if resume else 0
    assert begin == (cut if resume else 0)
    if resume:
        for callback in made:
            if isinstance(callback, callbacks.Checkpoint):
                callback.resume(model)
    after = [PowerCut(cut)] if cut is not None and not resume else []
    history = tf.keras.callbacks.History()
    try:
        model.fit(
            *data, batch_size=8, epochs=EPOCHS, initial_epoch=begin, verbose=0, shuffle=False,
            callbacks=[script(LOSSES), *made, history, checkpoint, *after],
        )  # fmt: skip
    except KeyboardInterrupt:
        assert after
    states = {type(c).__name__: c.state() for c in made if hasattr(c, "state")}
    return history.history, json.loads(json.dumps(states, default=lambda array: array.tolist()))


def values(model):
    """The weights, the optimizer's variables and its learning rate."""
    variables = (*model.weights, *model.optimizer.variables, model.optimizer.learning_rate)
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize(
    ("names", "cuts"),
    [*(([name], [4]) for name in SETTING_THE_RATE), (TOGETHER, [1, 4])],
    ids=lambda value: "+".join(map(str, value)),
)
def test_interrupted_and_resumed_equals_uninterrupted(
    names, cuts, tmp_path, data, make_model, script
):
    cls = LargeBatchModel if set(names) & set(CHANGING_THE_BATCH) else tf.keras.Model
    model = make_model(cls=cls)
    first, rate = model.get_weights(), float(model.optimizer.learning_rate)
    expected, final = run(tmp_path / "whole", names, data, model, script)
    whole = values(model)
    other = tf.keras.optimizers.SGD(0.5, momentum=0.9)  # everything comes from the checkpoint
    resumed = make_model(other, seed=1, cls=cls)
    strange = resumed.get_weights()
    for cut in cuts:
        as_new(model, first, rate)
        run(tmp_path / f"{cut}", names, data, model, script, cut)
        as_new(resumed, strange, 0.5)
        history, state = run(tmp_path / f"{cut}", names, data, resumed, script, cut, resume=True)
        for a, b in zip(whole, values(resumed), strict=True):
            np.testing.assert_array_equal(a, b)
        assert state == final
        for column in history:
            wanted = expected[column][-len(history[column]) :]
            np.testing.assert_array_equal(history[column], wanted)


# What somebody may log, and the row that RunLog makes of it.
ODD = [
    (np.array(1.5), {"odd": 1.5}), (np.array([0.5, 0.25]), {"odd_0": 0.5, "odd_1": 0.25}), (np.ones([1]), {"odd": 1}),
    (np.zeros([0]), {}), ([[1], [2, 3]], {}), (None, {}), ("text", {"odd": "text"}), (b"text", {"odd": "b'text'"}),
    (math.nan, {"odd": math.nan}), (np.float32(2), {"odd": 2}), (np.int64(3), {"odd": 3}), (True, {"odd": "True"}),
    (tf.constant(1.5), {"odd": 1.5}), (tf.constant([1, 2]), {"odd_0": 1, "odd_1": 2}), ({"a": 1}, {"odd": "{'a': 1}"}),
    (tf.constant("text"), {"odd": "b'text'"}), (tf.ragged.constant([[1], [2, 3]]), {}), (..., {}),
]  # fmt: skip


class Odd(tf.keras.callbacks.Callback):
    """Logs an odd value under an own name and RunLog's own at every hook, another in each epoch; ... for none."""

    epoch = 0

    def _log(self, logs):
        if logs is not None and ODD[self.epoch][0] is not ...:
            logs.update(
                dict.fromkeys(
                    ("odd", "epoch", "seconds", "phase", "batch_size"), ODD[self.epoch][0]
                )
            )

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self._log(logs)


for _hook in dir(tf.keras.callbacks.Callback):
    if _hook.startswith("on_") and _hook != "on_epoch_begin":
        setattr(Odd, _hook, lambda self, *args, logs=None: self._log(args[-1] if args else logs))


def test_odd_logs_pass_through_every_hook(tmp_path, data, make_model):
    few = tuple(each[:8] for each in data)
    model = make_model(cls=LargeBatchModel)
    log = callbacks.RunLog(tmp_path / "log")
    names = set(TOGETHER) - {"TwoPhaseSchedule", "Checkpoint"}
    made = [Odd(), *(MAKERS[name](tmp_path, data) for name in sorted(names)), log]
    made += [callbacks.TwoPhaseSchedule(curvature_data=data), callbacks.ElasticRanks(1)]
    made += [tf.keras.callbacks.History(), callbacks.Checkpoint(tmp_path / "last", every=7)]
    fit = {"batch_size": 8, "epochs": len(ODD), "verbose": 0, "validation_data": few}
    model.fit(*few, callbacks=made, **fit)
    rows = log.run_directory.metrics.read()
    assert [row["epoch"] for row in rows] == list(range(1, len(ODD) + 1))
    for row, (_, expected) in zip(rows, ODD, strict=True):
        odd = {name: value for name, value in row.items() if name.startswith("odd")}
        found = {name: value for name, value in odd.items() if value is not None}
        assert repr(found) == repr(expected) or found == expected
    model.evaluate(*few, verbose=0, callbacks=made)
    model.predict(few[0], verbose=0, callbacks=made)
    # These set the batch too, and so go by themselves.
    for name in ("FirstEpochsBatch", "GrowBatchSize"):
        model.fit(*few, callbacks=[Odd(), MAKERS[name](tmp_path, data)], **fit)


@pytest.mark.parametrize("name", ["NonFiniteLoss", "TwoPhaseSchedule"])
@pytest.mark.parametrize("value", [value for value, _ in ODD[:-1]], ids=repr)
def test_an_odd_loss_is_one_number_or_named(name, value, data, make_model):
    callback = {
        "NonFiniteLoss": callbacks.NonFiniteLoss,
        "TwoPhaseSchedule": lambda: callbacks.TwoPhaseSchedule(curvature_data=data, patience=9),
    }[name]()
    callback.set_model(make_model(cls=LargeBatchModel))
    callback.set_params({"epochs": 3, "steps": 1, "verbose": 0})
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    single = value is None or np.isscalar(value) and not isinstance(value, (str, bytes))
    single = single or (
        isinstance(value, (np.ndarray, tf.Tensor))
        and np.size(value) == 1
        and value.dtype != tf.string
    )
    try:
        callback.on_train_batch_end(0, {"loss": value})
        callback.on_epoch_end(0, {"loss": value})
        assert single
    except ValueError as error:
        assert not single and str(error).startswith("loss=") and "must be one number" in str(error)
    except FloatingPointError:
        assert name == "NonFiniteLoss" and math.isnan(value)


def test_a_monitor_that_only_some_epochs_have(data, make_model, caplog):
    """Keras's ReduceLROnPlateau goes on likewise."""
    model = make_model()
    schedule = callbacks.TwoPhaseSchedule(
        curvature_data=data, monitor="val_loss", patience=1, extra_fraction=0
    )
    fit = {"batch_size": 8, "verbose": 0, "callbacks": [schedule]}
    model.fit(*data, epochs=4, validation_data=data, validation_freq=[2, 4], **fit)
    assert schedule.state()["machine"]["epoch"] == 4 and schedule.phase == "exploration"
    assert caplog.text.count("epoch 1 has no val_loss, the monitor") == 1
    fit["callbacks"] = [callbacks.TwoPhaseSchedule(curvature_data=data, monitor="val_loss")]
    with pytest.raises(ValueError, match="monitor='val_loss' is not logged"):
        model.fit(*data, epochs=2, **fit)


def test_the_table_makes_the_two_phase_schedule_decay(tmp_path, data, make_model, script):
    """Else the tests above would compare nothing."""
    _, states = run(tmp_path, ["TwoPhaseSchedule"], data, make_model(), script)
    assert states["TwoPhaseSchedule"]["machine"]["decays"] == 2


# What a callback asks for: the rate that others may have assigned; where a measurement is due, its numbers and the
# optimizer's count.
ASKING = {"DistanceMonitor": 3, "RateCurve": 1, "Warmup": 1}


class ReadsSoFar(TensorLogs, tf.keras.callbacks.Callback):
    """Notes after each update how many reads there have been."""

    def __init__(self, seen):
        super().__init__()
        self.seen, self.numbers = seen, []

    def on_train_batch_end(self, batch, logs=None):
        self.numbers.append(len(self.seen))


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_an_update_waits_for_the_host_no_more_often_than_in_plain_keras(
    name, tmp_path, data, make_model, script
):
    """Where the host reads a tensor from a device, it waits for all that the device does before."""

    def most_reads(cls, added):
        """Of an update within an epoch."""
        model = make_model(tf.keras.optimizers.SGD(1e-4), cls=cls)
        many = [np.tile(part, [8, 1]) for part in data]
        with counting_reads() as seen:
            reads = ReadsSoFar(seen)
            model.fit(*many, batch_size=4, verbose=0, callbacks=[*added, reads])
        assert len(reads.numbers) > 4
        return max(np.diff(reads.numbers))

    ours = most_reads(LargeBatchModel, [script(LOSSES), MAKERS[name](tmp_path, data)])
    assert ours == most_reads(tf.keras.Model, []) + ASKING.get(name, 0)
