"""Distances are NumPy's, at logarithmically spaced updates and the ends of epochs; a resumed run goes on from w_0."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.callbacks import Checkpoint, DistanceMonitor
from tflbt.runs.metrics import MetricsTable

K = tf.keras


class Weights(K.callbacks.Callback):
    """Notes the trainable weights after every update."""

    def __init__(self):
        super().__init__()
        self.all = []

    def on_train_batch_end(self, batch, logs=None):
        self.all.append([v.numpy().astype(float) for v in self.model.trainable_variables])


def make():
    K.utils.set_random_seed(0)
    inputs = K.Input([4])
    hidden = K.layers.BatchNormalization(name="b")(K.layers.Dense(3, name="a")(inputs))
    model = K.Model(inputs, K.layers.Dense(1, name="c")(hidden))
    model.compile(K.optimizers.SGD(0.05), "mse", run_eagerly=True)
    return model


def fit(model, data, *callbacks, epochs=3, initial_epoch=0):
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, "initial_epoch": initial_epoch}
    return model.fit(*data, epochs=epochs, callbacks=list(callbacks), **options).history


def test_rows_are_those_of_numpy_and_a_resumed_run_has_the_same(data, tmp_path):
    table = MetricsTable(tmp_path / "whole.csv")
    monitor = DistanceMonitor(table.path, 3, per_variable=True)
    weights, model = Weights(), make()
    start = [v.numpy().astype(float) for v in model.trainable_variables]
    history = fit(model, data, weights, monitor)
    rows = table.read()
    assert [(row["epoch"], row["updates"]) for row in rows] == [
        *((1, t) for t in (1, 2, 4)),
        *((2, t) for t in (5, 8)),
        *((3, t) for t in (10, 12)),
    ]
    names = [v.name.partition(":")[0] for v in model.trainable_variables]
    for row in rows:
        now = weights.all[row["updates"] - 1]
        parts = [np.linalg.norm(a - b) for a, b in zip(now, start)]
        np.testing.assert_allclose([row[f"distance/{name}"] for name in names], parts, rtol=1e-5)
        w, w_0 = (np.concatenate([part.ravel() for part in side]) for side in (now, start))
        length = np.linalg.norm(w)
        wanted = [np.linalg.norm(w - w_0), length, w @ w_0 / length / np.linalg.norm(w_0)]
        found = [row[name] for name in ("distance", "weight_norm", "weight_cosine")]
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert history["distance"] == [rows[n]["distance"] for n in (2, 4, 6)]

    resumed = MetricsTable(tmp_path / "resumed.csv")
    for epochs in (2, 3):
        model, monitor = make(), DistanceMonitor(resumed.path, 3, per_variable=True)
        checkpoint = Checkpoint(tmp_path / "checkpoints")
        begin = checkpoint.resume(model)
        fit(model, data, monitor, checkpoint, epochs=epochs, initial_epoch=begin)
    for again, row in zip(resumed.read(), rows, strict=True):
        assert again == pytest.approx(row, rel=1e-6)


def test_another_runs_table_and_wrong_arguments_are_refused(data, tmp_path):
    MetricsTable(tmp_path / "d.csv").append({"epoch": 1, "updates": 1, "distance": 1.0})
    with pytest.raises(FileExistsError, match="distances of another run.*d.csv"):
        fit(make(), data, DistanceMonitor(tmp_path / "d.csv"), epochs=1)
    with pytest.raises(ValueError, match="^per_decade=0"):
        DistanceMonitor(per_decade=0)
