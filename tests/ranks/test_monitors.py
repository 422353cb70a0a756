"""Monitors on two ranks, of which each measures its share: the columns of one process."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.ranks.twins import SETS, K, X, identical_on_ranks, large
from tflbt.analysis.margins import COLUMNS, margin_statistics
from tflbt.callbacks import MarginMonitor
from tflbt.curvature import input_margins
from tflbt.distributed import comm

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
