"""Tests of the stability monitor: its eigenvalues against NumPy, its limits against Keras's own SGD."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel
from tflbt.callbacks import RunLog, StabilityMonitor, Warmup
from tflbt.control.stability import stability_limit

K = tf.keras
SGDS = {"plain": (0.0, False), "heavy ball": (0.9, False), "nesterov": (0.9, True)}


def linear(optimizer, cls=K.Model, features=4):
    """A linear model without bias, whose Hessian on samples x is 2 mean x x^T whatever its weights."""
    inputs = K.Input([features])
    model = cls(inputs, K.layers.Dense(1, use_bias=False)(inputs))
    model.compile(optimizer, "mse", run_eagerly=cls is K.Model)
    return model


def eigenvalues(x, size, batches):
    """The largest of each mini-batch's Hessian, by NumPy."""
    parts = (x[k * size : (k + 1) * size].astype("float64") for k in range(batches))
    return [np.linalg.eigvalsh(2 * part.T @ part / size)[-1] for part in parts]


@pytest.mark.parametrize(
    ("cls", "size", "batches", "taken"),
    [(K.Model, None, 4, 8), (LargeBatchModel, None, 5, 6), (K.Model, 3, 7, 3)],
)
def test_the_largest_and_the_mean_are_those_of_the_mini_batches(cls, size, batches, taken, data):
    x, y = data
    wanted = eigenvalues(x, taken, batches)
    assert max(wanted) > 1.1 * np.mean(wanted)
    monitor = StabilityMonitor(data, size, batches, tolerance=1e-5)
    model = linear(K.optimizers.SGD(0.01), cls)
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[monitor]).history
    np.testing.assert_allclose(history["stability_eigenvalue"], [max(wanted)] * 2, rtol=1e-4)
    np.testing.assert_allclose(history["stability_mean"], [np.mean(wanted)] * 2, rtol=1e-4)
    np.testing.assert_allclose(history["stability_limit"], [200.0] * 2, rtol=1e-6)
    assert "stability_limit_momentum" not in history


def test_sample_weights_count(data):
    x, y = data
    weight = np.repeat(np.float32([1, 0, 0, 0]), 8)
    monitor = StabilityMonitor((x, y, weight), tolerance=1e-5)
    history = linear(K.optimizers.SGD(0.01)).fit(x, y, verbose=0, callbacks=[monitor]).history
    (wanted,) = eigenvalues(x, 8, 1)
    assert history["stability_eigenvalue"][0] == pytest.approx(wanted, rel=1e-4)
    assert history["stability_mean"][0] == pytest.approx(wanted / 4, rel=1e-4)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("momentum", "nesterov"), SGDS.values(), ids=SGDS)
def test_the_limit_is_that_of_kerass_sgd(momentum, nesterov, legacy):
    """On the loss w^2 / 2 a rate just below the one that makes the limit 1 converges, one just above diverges."""
    largest = stability_limit(1.0, momentum, nesterov)
    cls = K.optimizers.legacy.SGD if legacy else K.optimizers.SGD
    for share, ends in ((0.99, lambda w: w < 0.1), (1.01, lambda w: w > 10)):
        w = tf.Variable(1.0)
        optimizer = cls(share * largest, momentum=momentum, nesterov=nesterov)
        for _ in range(130):
            optimizer.apply_gradients([(w.value(), w)])
        assert ends(abs(float(w)))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("momentum", "nesterov"), list(SGDS.values())[1:], ids=list(SGDS)[1:])
def test_momentums_limit_is_logged_beside_the_papers(momentum, nesterov, legacy, data):
    cls = K.optimizers.legacy.SGD if legacy else K.optimizers.SGD
    model = linear(cls(0.01, momentum=momentum, nesterov=nesterov))
    monitor = StabilityMonitor(data, batches=1)
    history = model.fit(*data, verbose=0, callbacks=[monitor]).history
    assert history["stability_limit"] == pytest.approx([200.0])
    wanted = stability_limit(0.01, momentum, nesterov)
    assert history["stability_limit_momentum"] == pytest.approx([wanted])


def test_it_warns_once_and_notes_the_return(data, caplog):
    """The Hessian stays; the rate crosses 2 / lambda."""
    x, y = data
    top = max(eigenvalues(x, 8, 4))
    rates = [1.5 / top, 2.1 / top, 2.2 / top, 1.9 / top, 1.8 / top, 2.1 / top]
    steer = K.callbacks.LearningRateScheduler(lambda epoch: rates[epoch])
    monitor = StabilityMonitor(data, tolerance=1e-4)
    with caplog.at_level("INFO", logger="absl"):
        linear(K.optimizers.SGD(1.0)).fit(
            x, y, batch_size=32, epochs=6, verbose=0, callbacks=[steer, monitor]
        )
    told = [(r.levelname, r.getMessage()) for r in caplog.records if "stability" in r.getMessage()]
    assert [level for level, _ in told] == ["WARNING", "INFO", "WARNING"]
    for (_, message), epoch, side in zip(told, (2, 4, 6), ("above", "below", "above")):
        assert f"end of epoch {epoch}:" in message
        assert f"is {side} the limit {2 / rates[epoch - 1]:.4g} of SGD" in message


def test_the_warning_is_by_the_limit_of_the_momentum(data, caplog):
    """Between 2 / eta and 3 / eta heavy ball with momentum 0.5 is stable, Nesterov's is not."""
    top = max(eigenvalues(data[0], 8, 4))
    for nesterov in (False, True):
        caplog.clear()
        model = linear(K.optimizers.SGD(2.5 / top, momentum=0.5, nesterov=nesterov))
        model.fit(*data, verbose=0, callbacks=[StabilityMonitor(data)])
        assert ("is above the limit" in caplog.text) == nesterov


@pytest.mark.parametrize("optimizer", ["adam", "schedule"])
def test_other_optimizers_and_schedules(optimizer, data, caplog):
    """Adam: no warning, one notice. SGD with a schedule: the rate of the moment."""
    schedule = K.optimizers.schedules.ExponentialDecay(100.0, 1, 0.5)
    made = K.optimizers.Adam(100.0) if optimizer == "adam" else K.optimizers.SGD(schedule)
    with caplog.at_level("INFO", logger="absl"):
        history = (
            linear(made)
            .fit(*data, batch_size=32, epochs=2, verbose=0, callbacks=[StabilityMonitor(data)])
            .history
        )
    told = [r.levelname for r in caplog.records if "stability" in r.getMessage()]
    if optimizer == "adam":
        assert told == ["INFO"] and "not of Adam" in caplog.text
        assert history["stability_limit"] == pytest.approx([0.02, 0.02])
    else:
        assert told == ["WARNING"]
        assert history["stability_limit"] == pytest.approx([0.02, 0.04])


def test_every_second_epoch_leaves_the_others_empty(data, tmp_path):
    monitor = StabilityMonitor(data, batches=2, every=2)
    log = RunLog(tmp_path, [monitor], verbose=0)
    model = linear(K.optimizers.SGD(0.01, momentum=0.9), LargeBatchModel)
    history = model.fit(
        *data, batch_size=8, epochs=4, verbose=0, callbacks=[Warmup(4), monitor, log]
    ).history
    rows = log.run_directory.metrics.read()
    for name in ("eigenvalue", "mean", "limit", "limit_momentum"):
        column = [row[f"stability_{name}"] for row in rows]
        assert [value is None for value in column] == [True, False, True, False]
        assert history[f"stability_{name}"] == pytest.approx(column[1::2])
    assert [row["seconds_stability"] > 0 for row in rows] == [False, True, False, True]
    assert history["stability_limit"] == pytest.approx([400.0, 200.0])  # warmed up: half, all


def test_a_loss_that_is_no_number_is_no_news(data, caplog):
    x, y = data
    broken = np.where(np.arange(32) < 8, np.nan, y[:, 0])[:, None].astype("float32")
    model = linear(K.optimizers.SGD(1e-3))
    model.compile(K.optimizers.SGD(1e-3), lambda true, given: (true * given) ** 2, run_eagerly=True)
    history = model.fit(
        x, y, verbose=0, epochs=2, callbacks=[StabilityMonitor((x, broken))]
    ).history
    assert np.isnan(history["stability_eigenvalue"]).all()
    assert "limit" not in caplog.text


@pytest.mark.parametrize("size", [7, 33])
def test_too_few_samples_are_told_at_the_start(size, data):
    monitor = StabilityMonitor(data, size, batches=5)
    with pytest.raises(
        ValueError, match=f"^batches=5 of batch_size={size} need {5 * size} samples"
    ):
        linear(K.optimizers.SGD(0.1)).fit(*data, verbose=0, callbacks=[monitor])
    monitor = StabilityMonitor(data, batches=33)
    with pytest.raises(ValueError, match="^batches=33 of batch_size=None need 33 samples"):
        linear(K.optimizers.SGD(0.1)).fit(*data, verbose=0, callbacks=[monitor])


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"batch_size": 1.5},
        {"batches": 0},
        {"every": 0},
        {"iterations": 0},
        {"tolerance": 0.0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_arguments_out_of_range(wrong, data):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}="):
        StabilityMonitor(data, **wrong)


def test_wrong_curvature_data_is_named():
    with pytest.raises(ValueError, match=r"^curvature_data=.* must be \(x, y\)"):
        StabilityMonitor(None)
