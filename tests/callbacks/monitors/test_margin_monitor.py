"""The margin monitor logs what `input_margins` measures, when it is due."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel
from tflbt.analysis.margins import COLUMNS, margin_statistics
from tflbt.callbacks import MarginMonitor, RunLog
from tflbt.curvature import input_margins

K = tf.keras
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


def test_every_second_epoch_is_measured_after_its_updates(tmp_path):
    inputs = K.Input([4])
    model = LargeBatchModel(inputs, K.layers.Dense(2)(K.layers.Dense(8, "relu")(inputs)))
    model.compile(K.optimizers.SGD(0.1), K.losses.SparseCategoricalCrossentropy(from_logits=True))
    monitor = MarginMonitor(lambda: (X, Y), every=2)
    log = RunLog(tmp_path, [monitor], verbose=0)
    options = {"batch_size": 16, "sub_batch_size": 8, "verbose": 0}
    history = model.fit(X, Y, epochs=4, callbacks=[monitor, log], **options).history
    wanted = margin_statistics(input_margins(model, X, Y))
    rows = log.run_directory.metrics.read()
    for name in COLUMNS:
        assert [row[name] is None for row in rows] == [True, False, True, False]
        assert history[name] == [row[name] for row in rows[1::2]]
        assert rows[3][name] == pytest.approx(wanted[name], rel=1e-5)
    assert [row["seconds_margin"] > 0 for row in rows] == [False, True, False, True]
    assert history["margin"][1] != history["margin"][0]


def test_arguments_and_data_are_named():
    for wrong in ({"every": 0}, {"sub_batch_size": 0}):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))}=0"):
            MarginMonitor((X, Y), **wrong)
    with pytest.raises(ValueError, match=r"^margin_data=ndarray must be \(x, y\)"):
        MarginMonitor(X)
