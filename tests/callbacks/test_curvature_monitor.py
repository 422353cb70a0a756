"""Tests of the curvature monitor: it measures what `top_eigenvalue` measures, when it is time."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel
from tflbt.callbacks import CurvatureMonitor
from tflbt.curvature import top_eigenvalue


@pytest.mark.parametrize("cls", [tf.keras.Model, LargeBatchModel])
def test_it_logs_the_eigenvalue_at_the_weights_of_the_epochs_end(cls, data, make_model):
    model, expected = make_model(cls=cls), []
    note = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: expected.append(
            top_eigenvalue(model, *data, iterations=20).eigenvalue
        )
    )
    chosen = [CurvatureMonitor(data, iterations=20), note]
    history = model.fit(*data, batch_size=8, epochs=3, verbose=0, callbacks=chosen).history
    np.testing.assert_allclose(history["eigenvalue"], expected, rtol=1e-6)
    assert len(set(expected)) == 3


def test_every_second_epoch_leaves_the_others_empty(data, make_model):
    monitor, rows = CurvatureMonitor(data, every=2), []
    note = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rows.append(monitor.epoch_columns())
    )
    history = make_model().fit(*data, epochs=4, verbose=0, callbacks=[monitor, note]).history
    assert [row["eigenvalue"] is None for row in rows] == [True, False, True, False]
    assert [row["seconds_curvature"] > 0 for row in rows] == [False, True, False, True]
    assert history["eigenvalue"] == [row["eigenvalue"] for row in rows[1::2]]


def test_sample_weights_and_options_reach_the_estimate(data, make_model):
    x, y = data
    weight = np.zeros(32, "float32")
    weight[:4] = 1
    model = make_model()
    history = model.fit(
        x, y, verbose=0, callbacks=[CurvatureMonitor((x, y, weight), method="exact")]
    ).history
    expected = top_eigenvalue(model, x, y, sample_weight=weight, method="exact").eigenvalue
    assert history["eigenvalue"][0] == pytest.approx(expected, rel=1e-6)


def test_several_blocks_have_columns_of_their_own(data, make_model):
    model = make_model()
    monitor = CurvatureMonitor(data, blocks=("output", "all"), iterations=30)
    history = model.fit(*data, verbose=0, callbacks=[monitor]).history
    for block, method in (("output", "finite_difference"), ("all", "exact")):
        expected = top_eigenvalue(model, *data, layers=block, method=method, iterations=30)
        assert history[f"eigenvalue_{block}"] == pytest.approx([expected.eigenvalue], rel=1e-5)
    row = monitor.epoch_columns()
    assert row["eigenvalue_all"] > row["eigenvalue_output"] > 0 < row["seconds_curvature_monitor"]
    assert "eigenvalue" not in history


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"blocks": "all"}, "^blocks='all' must be different names"),
        ({"blocks": ("all", "all")}, "must be different names"),
        ({"blocks": ("dense",)}, "^blocks='dense' must be one of"),
        ({"blocks": ("all",), "layers": "output"}, "^layers='output' is said by blocks"),
        ({"blocks": ("all",), "method": "finite_difference"}, 'layers="output" only'),
    ],
)
def test_wrong_blocks_are_named(options, says, data):
    with pytest.raises(ValueError, match=says):
        CurvatureMonitor(data, **options)


@pytest.mark.parametrize("every", [0, -1])
def test_wrong_every_is_named(every, data):
    with pytest.raises(ValueError, match="^every="):
        CurvatureMonitor(data, every)


@pytest.mark.parametrize("wrong", [None, 5, ["x"], "xy", ("x", "y", "w", "z")])
def test_wrong_curvature_data_is_named(wrong):
    with pytest.raises(ValueError, match=r"^curvature_data=.* must be \(x, y\)"):
        CurvatureMonitor(wrong)
