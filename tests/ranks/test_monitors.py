"""Monitors on two ranks, of which each measures its share: the columns of one process."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.ranks.twins import SETS, K, X, Y, identical_on_ranks, large, network
from tflbt.analysis.margins import COLUMNS, margin_statistics
from tflbt.callbacks import DistanceMonitor, MarginMonitor, SignalToNoise
from tflbt.callbacks.monitors.signal_to_noise import COLUMNS as OF_NOISE
from tflbt.callbacks.monitors.signal_to_noise import SummedGradient
from tflbt.curvature import eigenvector_cut, input_margins, losses_at
from tflbt.distributed import comm
from tflbt.runs.metrics import MetricsTable
from tflbt.training import LargeBatchModel

LABELS = (X[:, 0] > 0).astype(int)


def test_margins_are_those_of_one_process(rank):
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    data = X[:29], LABELS[:29]  # 15 and 14 samples
    monitor = MarginMonitor(data)
    model, history = large(
        K.optimizers.SGD(0.1), loss=loss, metrics=(), data=(X, LABELS), callbacks=[monitor]
    )
    alone = comm.Reduction(process_set=SETS[rank])
    wanted = margin_statistics(np.sort(input_margins(model, *data, reduction=alone)))
    found = [history[name][-1] for name in COLUMNS]
    np.testing.assert_allclose(found, list(wanted.values()), rtol=1e-5)
    identical_on_ranks(found, "margins")


def test_signal_and_noise_are_those_of_one_process(rank):
    model, logs = LargeBatchModel.from_model(network()), {}
    model.compile("sgd", "mse")
    monitor = SignalToNoise((X, Y), batch_size=4, batches=5)  # 3 and 2 mini-batches
    monitor.set_model(model)
    monitor.on_train_begin()
    monitor.on_epoch_end(0, logs)
    alone = comm.Reduction(process_set=SETS[rank])
    signal, noise = SummedGradient(model, 4).signal_and_noise((X, Y), 4, 5, alone)
    found = [logs[name] for name in OF_NOISE]
    np.testing.assert_allclose(found, [signal / noise, signal, noise], rtol=1e-5)
    identical_on_ranks(found, "signal_to_noise")


def test_distances_begin_at_the_shared_weights(rank, shared_folder):
    """The ranks begin apart and take the chief's weights before the first update."""
    model = network(seed=1)
    start = model.get_weights()
    if rank:
        model.set_weights([w + 1 for w in start])
    monitor = DistanceMonitor(str(shared_folder / "distance.csv"), 1)
    model, history = large(K.optimizers.SGD(0.1), model, callbacks=[monitor])
    squares = sum(((a - b) ** 2).sum() for a, b in zip(model.get_weights(), start))
    np.testing.assert_allclose(history["distance"][-1] ** 2, squares, rtol=1e-4)
    identical_on_ranks(history["distance"], "distances")
    comm.gather_objects(None, "the chief has written")
    rows = MetricsTable(shared_folder / "distance.csv").read()
    assert [row["updates"] for row in rows] == [1, 2, 4, 6]


def test_points_of_a_landscape_are_shared_out(rank):
    model = network(norm=True)
    model.compile(loss="mse")
    direction = [np.ones(v.shape) for v in model.trainable_variables]
    places = np.linspace(-1, 1, 5)[:, None]
    alone = comm.Reduction(process_set=SETS[rank])
    for batch_norm in ("fixed", "re-estimate"):
        found, wanted = (
            losses_at(model, X, Y, [direction], places, batch_norm=batch_norm, reduction=ranks)
            for ranks in (comm.EVERYONE, alone)
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
        identical_on_ranks([found], batch_norm)
    cuts = [eigenvector_cut(model, X, Y, [0.0, 0.1], reduction=r) for r in (comm.EVERYONE, alone)]
    np.testing.assert_allclose(cuts[0].losses, cuts[1].losses, rtol=1e-4)
    identical_on_ranks([cuts[0].losses], "cuts")
