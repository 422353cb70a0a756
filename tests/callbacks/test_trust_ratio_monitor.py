"""Tests of the callback that says how often the bounds of a trust ratio bit."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel, optimizers
from tflbt.callbacks import TrustRatioMonitor


@pytest.mark.parametrize("cls", [tf.keras.Model, LargeBatchModel])
@pytest.mark.parametrize(
    ("bounds", "share"), [((1e6, 1e7), 1.0), ((0.0, 1e9), 0.0), ((0.5, 0.9), None)]
)
def test_the_share_is_of_the_epoch_and_between_0_and_1(cls, bounds, share, data, make_model):
    optimizer = optimizers.LayerWise(tf.keras.optimizers.SGD(1e-9), ratio_bounds=bounds)
    model, monitor = make_model(optimizer, cls=cls), TrustRatioMonitor()
    history = model.fit(*data, batch_size=8, epochs=2, verbose=0, callbacks=[monitor]).history
    if share is None:
        assert 0 < history["bounded_share"][0] <= 1
    else:
        assert history["bounded_share"] == [share, share]
    assert monitor.epoch_columns() == {"bounded_share": history["bounded_share"][-1]}
    bounded, ratios = optimizer.bound_counts()
    assert ratios == 2 * 4 * 4  # epochs, updates, variables
    assert np.mean(history["bounded_share"]) == pytest.approx(bounded / ratios)


@pytest.mark.parametrize("optimizer", [tf.keras.optimizers.SGD(0.01), optimizers.LARS(0.01)])
def test_without_bounds_nothing_is_logged(optimizer, data, make_model):
    model, monitor = make_model(optimizer), TrustRatioMonitor()
    history = model.fit(*data, epochs=1, verbose=0, callbacks=[monitor]).history
    assert "bounded_share" not in history and monitor.epoch_columns() == {}
