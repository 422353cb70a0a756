"""Callbacks on two ranks: all take the same decisions, the chief alone writes, and one process would do the same."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import tensorflow as tf

import tflbt
from tests.ranks.twins import K, alone, close, identical_on_ranks
from tflbt import FGSM, LargeBatchModel, callbacks
from tflbt.callbacks.run_log import RunLog
from tflbt.callbacks.time_account import TimeAccount
from tflbt.distributed import comm
from tflbt.runs.run_directory import RunDirectory
from tflbt.schedules import CosineDecay

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")


class Apart(K.callbacks.Callback):
    """Gives the ranks different losses, of which only the mean rises."""

    def on_epoch_end(self, epoch, logs=None):
        rising = [1.0, 1.0, 2.0, 3.0, 4.0, 5.0][epoch]
        logs["scripted"] = 3 * rising if comm.rank() == 0 else 1.0 - rising


class Stored:
    """Samples of which a rank reads its own alone."""

    def __call__(self):
        raise AssertionError("no rank needs all of them")

    def of_rank(self, rank, size):
        return X[rank::size], 10 * X[rank::size, :1]


def test_two_ranks_take_and_log_the_same_decisions(rank, shared_folder):
    y = 10 * X[:, :1]
    K.utils.set_random_seed(rank)
    inputs = K.Input([4])
    model = LargeBatchModel(inputs, K.layers.Dense(1)(K.layers.Dense(8)(inputs)))
    model.compile(K.optimizers.SGD(0.01), "mse")
    two_phase = callbacks.TwoPhaseSchedule(
        patience=1, extra_fraction=0, curvature_data=(X, y), monitor="scripted",
        measure_exploration=True,
    )  # fmt: skip
    curve = callbacks.RateCurve(CosineDecay(8, begin=2))
    first = callbacks.FirstEpochsBatch(8, 0.01)
    schedules = [first, callbacks.Warmup(2), callbacks.StepDecay([5]), curve, two_phase]
    monitor = callbacks.CurvatureMonitor(Stored())
    stability = callbacks.StabilityMonitor((X, y), batches=3, every=3)
    log = RunLog(str(shared_folder / "run"), [two_phase, monitor], verbose=0)
    checkpoint = callbacks.Checkpoint(str(shared_folder / "checkpoints"), schedules)
    phases = []

    def note(epoch, logs):
        rate = float(model.optimizer.learning_rate)
        assert monitor.curvature.eigenvalue == two_phase.curvature.eigenvalue
        phases.append([model.batch_size, two_phase.phase, two_phase.decays, rate])

    history = model.fit(
        X, y, batch_size=16, sub_batch_size=4, epochs=6, verbose=0,
        callbacks=[
            Apart(), stability, *schedules, monitor, callbacks.NonFiniteLoss(), log,
            K.callbacks.LambdaCallback(on_epoch_end=note), checkpoint,
        ],
    ).history  # fmt: skip
    del history["scripted"]
    weights = [float(np.abs(w).sum()) for w in model.get_weights()]
    here, there = comm.gather_objects(json.dumps([phases, history, weights], default=float), "all")
    assert here == there
    assert [batch_size for batch_size, *_ in phases] == [8] + [16] * 5
    assert len(history["stability_eigenvalue"]) == 2
    assert [phase for _, phase, *_ in phases] == ["exploration"] + ["convergence"] * 5
    assert [decays for *_, decays, _ in phases] == [0, 0, 1, 1, 2, 2]
    cosine = (1 + np.cos(np.pi * np.arange(5) / 6)) / 2
    assert [rate for *_, rate in phases] == pytest.approx(
        np.array([0.005, 0.01, 0.005, 0.005, 0.0025, 0.00025]) * [1, *cosine], rel=1e-6
    )
    assert np.all(np.diff(history["eigenvalue"]) > 0)
    rows = (shared_folder / "run" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 7  # the chief alone wrote them
    assert len(list((shared_folder / "checkpoints").iterdir())) == 2


@pytest.mark.parametrize("options", [{}, {"measure_every": 20}], ids=str)
def test_an_adaptive_batch_is_that_of_one_process(options):
    y = 3 * np.tanh(X[:, :1])

    def train(optimizer, size):
        K.utils.set_random_seed(1)
        inputs = K.Input([4])
        model = LargeBatchModel(inputs, K.layers.Dense(1)(K.layers.Dense(8, "tanh")(inputs)))
        model.compile(optimizer, "mse")
        adaptive = callbacks.AdaptiveBatchSize(
            16, alpha=1.2, kappa=2, curvature_data=(X[:9], y[:9]), tau=4, **options
        )
        history = model.fit(
            X, y, batch_size=4, sub_batch_size=size, epochs=6, verbose=0, seed=3,
            callbacks=[adaptive], adversarial=FGSM(0.5, 0.05, None),
        ).history  # fmt: skip
        return model.get_weights(), history

    weights, history = train(K.optimizers.SGD(0.05), 2)
    wanted_weights, wanted = train(alone(K.optimizers.SGD(0.05)), 4)
    assert history["batch_size"] == wanted["batch_size"], (history, wanted)
    assert len(set(history["batch_size"])) == 3 or options, history
    for name in history:
        np.testing.assert_allclose(history[name], wanted[name], rtol=1e-4, err_msg=name)
    close(weights, wanted_weights)
    identical_on_ranks(weights, "weights")


def test_waiting_for_a_slow_rank_is_communication(rank):
    def pause(value):
        time.sleep(0.05 * rank)
        return value

    inputs = K.Input([4])
    slow = K.layers.Lambda(lambda v: tf.ensure_shape(tf.py_function(pause, [v], v.dtype), v.shape))
    model = LargeBatchModel(inputs, K.layers.Dense(1)(slow(inputs)))
    model.compile("sgd", "mse")
    account, columns = TimeAccount(), []
    note = K.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: columns.append(account.epoch_columns())
    )
    model.fit(
        np.ones([16, 4]), np.ones([16, 1]), batch_size=4, sub_batch_size=2, epochs=2, verbose=0,
        callbacks=[account, note],
    )  # fmt: skip
    fast, slow = comm.gather_objects(columns[1], "columns")
    # Four updates; rank 0 waits while rank 1 computes.
    assert slow["seconds_computation"] >= 0.2
    assert fast["seconds_communication"] >= 0.15
    assert fast["seconds_communication"] > slow["seconds_communication"]


class RankAsColumn:
    """A source of a column that differs between ranks."""

    def epoch_columns(self):
        return {"eigenvalue": float(comm.rank())}


def test_the_chief_alone_logs_and_prints(rank, shared_folder, capfd):
    net = K.Sequential([K.layers.Dense(1, input_shape=(2,))])
    net.compile("sgd", "mse")
    where = "/proc/not/writable" if rank else str(shared_folder / "run")
    log = RunLog(where, sources=[RankAsColumn()])
    net.fit(tf.ones([8, 2]), tf.ones([8, 1]), epochs=2, verbose=0, callbacks=[log])
    assert capfd.readouterr().out.count("epoch 1/2 |") == (0 if rank else 1)
    tflbt.distributed.comm.gather_objects(None, "the chief has written")
    rows = RunDirectory(shared_folder / "run").metrics.read()
    assert [row["eigenvalue"] for row in rows] == [0.0, 0.0]
