"""The contract of every callback that tflbt exports: fit, fit twice, interrupted, on two ranks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel, callbacks, schedules

EPOCHS = 6
LOSSES = [1.0, 1.0, 2.0, 3.0, 4.0, 5.0]  # flat at 2, then rising

MAKERS = {
    "AdaptiveBatchSize": lambda folder, data: callbacks.AdaptiveBatchSize(
        32, kappa=1, curvature_data=data, tau=3
    ),
    "Checkpoint": lambda folder, data: callbacks.Checkpoint(folder / "other"),
    "CurvatureMonitor": lambda folder, data: callbacks.CurvatureMonitor(data, every=2),
    "FirstEpochsBatch": lambda folder, data: callbacks.FirstEpochsBatch(16, 0.02, epochs=5),
    "GrowBatchSize": lambda folder, data: callbacks.GrowBatchSize([1, 2], 2.0, max_batch_size=16),
    "NonFiniteLoss": lambda folder, data: callbacks.NonFiniteLoss(),
    "RateCurve": lambda folder, data: callbacks.RateCurve(
        [schedules.CosineWarmup(0.5), schedules.PolynomialDecay(20, 1.5, begin=0.5)], "updates"
    ),
    "RunLog": lambda folder, data: callbacks.RunLog(folder / "run", verbose=0),
    "StabilityMonitor": lambda folder, data: callbacks.StabilityMonitor(data, batches=2, every=2),
    "StepDecay": lambda folder, data: callbacks.StepDecay([1, 3], 0.5),
    "TimeAccount": lambda folder, data: callbacks.TimeAccount(),
    "TrustRatioMonitor": lambda folder, data: callbacks.TrustRatioMonitor(),
    "TwoPhaseSchedule": lambda folder, data: callbacks.TwoPhaseSchedule(
        patience=1, extra_fraction=0, curvature_data=data, monitor="scripted"
    ),
    "Warmup": lambda folder, data: callbacks.Warmup(3.5),
}
each = pytest.mark.parametrize("name", callbacks.__all__)
CHANGING_THE_BATCH = ("AdaptiveBatchSize", "FirstEpochsBatch", "GrowBatchSize")
SETTING_THE_RATE = (*CHANGING_THE_BATCH, "RateCurve", "StepDecay", "TwoPhaseSchedule", "Warmup")
# One callback says what the batch is.
TOGETHER = sorted(set(callbacks.__all__) - {"FirstEpochsBatch", "GrowBatchSize"})


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
    assert set(MAKERS) == set(callbacks.__all__)


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


@pytest.mark.parametrize("name", sorted(set(callbacks.__all__) - set(SETTING_THE_RATE)))
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


@pytest.mark.parametrize(
    ("names", "cut"),
    [*(([name], 4) for name in SETTING_THE_RATE), (TOGETHER, 1), (TOGETHER, 4)],
    ids=lambda value: "+".join(value) if isinstance(value, list) else str(value),
)
def test_interrupted_and_resumed_equals_uninterrupted(
    names, cut, tmp_path, data, make_model, script
):
    cls = LargeBatchModel if set(names) & set(CHANGING_THE_BATCH) else tf.keras.Model
    whole = make_model(cls=cls)
    expected, final = run(tmp_path / "whole", names, data, whole, script)
    run(tmp_path / "cut", names, data, make_model(cls=cls), script, cut)
    other = tf.keras.optimizers.SGD(0.5, momentum=0.9)  # everything comes from the checkpoint
    resumed = make_model(other, seed=1, cls=cls)
    history, state = run(tmp_path / "cut", names, data, resumed, script, cut, resume=True)
    for a, b in zip(whole.get_weights(), resumed.get_weights()):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(whole.optimizer.variables, resumed.optimizer.variables):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert float(resumed.optimizer.learning_rate) == float(whole.optimizer.learning_rate)
    assert state == final
    for column in history:
        np.testing.assert_array_equal(history[column], expected[column][-len(history[column]) :])


def test_the_table_makes_the_two_phase_schedule_decay(tmp_path, data, make_model, script):
    """Else the tests above would compare nothing."""
    _, states = run(tmp_path, ["TwoPhaseSchedule"], data, make_model(), script)
    assert states["TwoPhaseSchedule"]["machine"]["decays"] == 2


RANKS = """
import json, sys
import numpy as np, tensorflow as tf
import tflbt
from tflbt import callbacks
from tflbt.distributed import comm
from tflbt.schedules import CosineDecay

tflbt.init()
folder = sys.argv[1]
x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
y = 10 * x[:, :1]
tf.keras.utils.set_random_seed(comm.rank())
inputs = tf.keras.Input([4])
model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(1)(tf.keras.layers.Dense(8)(inputs)))
model.compile(tf.keras.optimizers.SGD(0.01), "mse")

class Apart(tf.keras.callbacks.Callback):
    # The ranks see different losses, of which only the mean rises.
    def on_epoch_end(self, epoch, logs=None):
        rising = [1.0, 1.0, 2.0, 3.0, 4.0, 5.0][epoch]
        logs["scripted"] = 3 * rising if comm.rank() == 0 else 1.0 - rising

two_phase = callbacks.TwoPhaseSchedule(
    patience=1, extra_fraction=0, curvature_data=(x, y), monitor="scripted", measure_exploration=True)
curve = callbacks.RateCurve(CosineDecay(8, begin=2))
first = callbacks.FirstEpochsBatch(8, 0.01)
schedules = [first, callbacks.Warmup(2), callbacks.StepDecay([5]), curve, two_phase]
monitor = callbacks.CurvatureMonitor((x, y))
stability = callbacks.StabilityMonitor((x, y), batches=3, every=3)
log = callbacks.RunLog(folder + "/run", [two_phase, monitor], verbose=0)
checkpoint = callbacks.Checkpoint(folder + "/checkpoints", schedules)
phases = []
note = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: phases.append(
    [model.batch_size, two_phase.phase, two_phase.decays, float(model.optimizer.learning_rate)]))
history = model.fit(x, y, batch_size=16, sub_batch_size=4, epochs=6, verbose=0, callbacks=[
    Apart(), stability, *schedules, monitor, callbacks.NonFiniteLoss(), log, note, checkpoint])
told = {"phases": phases, "history": {k: v for k, v in history.history.items() if k != "scripted"}}
told["weights"] = [float(np.abs(w).sum()) for w in model.get_weights()]
open(f"{folder}/rank{comm.rank()}.json", "w").write(json.dumps(told))
"""


@pytest.mark.ranks(2)
def test_two_ranks_take_and_log_the_same_decisions(run_ranks, tmp_path):
    run_ranks(RANKS, n=2, args=[str(tmp_path)])
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert [batch_size for batch_size, *_ in first["phases"]] == [8] + [16] * 5
    assert len(first["history"]["stability_eigenvalue"]) == 2
    decays = [decays for *_, decays, _ in first["phases"]]
    assert [phase for _, phase, *_ in first["phases"]] == ["exploration"] + ["convergence"] * 5
    assert decays == [0, 0, 1, 1, 2, 2]
    cosine = (1 + np.cos(np.pi * np.arange(5) / 6)) / 2
    assert [rate for *_, rate in first["phases"]] == pytest.approx(
        np.array([0.005, 0.01, 0.005, 0.005, 0.0025, 0.00025]) * [1, *cosine], rel=1e-6
    )
    assert np.all(np.diff(first["history"]["eigenvalue"]) > 0)
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 7  # the chief alone wrote them
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
