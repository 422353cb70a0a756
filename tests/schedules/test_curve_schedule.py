"""Tests of curves as a Keras schedule: the rate of every update, in every optimizer, saved and loaded."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import rank_environment
from tflbt.optimizers import LARS
from tflbt.schedules import CosineDecay, CurveSchedule, LinearWarmup, PolynomialDecay, StepDecay

CURVES = [LinearWarmup(1), CosineDecay(3, begin=1)]


def by_hand(update):
    """The rate of update number `update`, from 1, of 4 an epoch."""
    e = update / 4
    return 0.8 * min(1, e) * (1 if e <= 1 else (1 + math.cos(math.pi * min(1, (e - 1) / 2))) / 2)


def schedule(**changes):
    return CurveSchedule(
        **{"learning_rate": 0.8, "curves": CURVES, "updates_per_epoch": 4, **changes}
    )


def test_every_update_has_its_rate():
    rates = [schedule()(updates) for updates in range(16)]
    assert all(rate.dtype == tf.float32 for rate in rates)
    expected = [by_hand(update) for update in range(1, 17)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", ["int", "int64 variable", "float32", "graph"])
def test_updates_may_be_counted_in_any_way(kind):
    call = tf.function(schedule()) if kind == "graph" else schedule()
    step = {
        "int": 5,
        "int64 variable": tf.Variable(5, dtype=tf.int64),
        "float32": tf.constant(5.0),
        "graph": tf.constant(5, tf.int64),
    }[kind]
    assert float(call(step)) == pytest.approx(by_hand(6), rel=1e-6)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    "optimizer",
    [
        tf.keras.optimizers.SGD,
        tf.keras.optimizers.legacy.SGD,
        lambda rate: LARS(rate, 0.0, exclude_from_adaptation=["w"]),
        lambda rate: tf.keras.mixed_precision.LossScaleOptimizer(tf.keras.optimizers.SGD(rate)),
    ],
    ids=["SGD", "legacy.SGD", "LARS", "LossScale(SGD)"],
)
def test_an_optimizers_trajectory_is_the_curve(optimizer, graph):
    """A gradient of 1 moves a weight of SGD by the rate."""
    made, w = optimizer(schedule()), tf.Variable(0.0, name="w")

    def step():
        gradient = tf.ones([])
        if isinstance(made, tf.keras.mixed_precision.LossScaleOptimizer):
            (gradient,) = made.get_unscaled_gradients([made.get_scaled_loss(gradient)])
        made.apply_gradients([(gradient, w)])

    if graph:
        step = tf.function(step)
    moved = []
    for _ in range(14):
        before = float(w)
        step()
        moved.append(before - float(w))
    np.testing.assert_allclose(moved, [by_hand(u) for u in range(1, 15)], rtol=1e-5, atol=1e-6)


def test_one_update_an_epoch_makes_lengths_count_updates():
    warm = CurveSchedule(0.8, LinearWarmup(10), updates_per_epoch=1)
    np.testing.assert_allclose(
        [warm(done) for done in range(12)], 0.8 * np.minimum(1, np.arange(1, 13) / 10), rtol=1e-6
    )


def test_steps_come_between_epochs_also_after_more_updates_than_float32_counts():
    """2^24 + 4 updates an epoch: float32 would round the 2^24 + 3 before the last one to as many."""
    updates = 2**24 + 4
    decay = CurveSchedule(1.0, StepDecay((1, 2)), updates)
    ends = [updates - 2, updates - 1, updates, 2 * updates - 1, 2 * updates]
    np.testing.assert_allclose([decay(done) for done in ends], [1, 1, 0.1, 0.1, 0.01], rtol=1e-6)


def test_config_goes_through_json_and_back():
    made = schedule(name="mine")
    config = json.loads(json.dumps(made.get_config()))
    again = CurveSchedule.from_config(config)
    assert again.get_config() == made.get_config() and again.curves == tuple(CURVES)
    assert config["name"] == "mine" and float(again(5)) == float(made(5))


@pytest.mark.parametrize("optimizer", [tf.keras.optimizers.Adam, tf.keras.optimizers.legacy.Adam])
def test_the_schedule_survives_its_optimizers_config(optimizer):
    text = json.dumps(optimizer(schedule()).get_config())
    again = json.loads(json.dumps(optimizer.from_config(json.loads(text)).get_config()))
    assert again == json.loads(text)
    assert again["learning_rate"]["class_name"].endswith("CurveSchedule")


def test_a_saved_model_goes_on_with_the_next_rate_in_a_program_that_imports_schedules(tmp_path):
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(1,), use_bias=False)])
    model.compile(tf.keras.optimizers.SGD(schedule()), "mse")
    x, y = np.ones([1, 1], "float32"), np.zeros([1, 1], "float32")
    model.fit(x, y, epochs=5, verbose=0)
    model.save(tmp_path / "model.keras")
    program = Path(__file__).with_name("loaded_rate.py")
    printed = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "model.keras")],
        check=True, capture_output=True, text=True, env=rank_environment(),
    ).stdout  # fmt: skip
    assert float(printed.split()[-1]) == pytest.approx(by_hand(6), rel=1e-6)


def test_fit_needs_no_callback():
    """4 updates an epoch of 16 samples; each halves the distance or so, by its rate."""
    model = tf.keras.Sequential(
        [tf.keras.layers.Dense(1, input_shape=(1,), use_bias=False, kernel_initializer="ones")]
    )
    model.compile(tf.keras.optimizers.SGD(schedule(learning_rate=0.4)), "mse")
    x, y = np.ones([16, 1], "float32"), np.zeros([16, 1], "float32")
    model.fit(x, y, batch_size=4, epochs=3, verbose=0)
    weight = np.prod([1 - 2 * by_hand(update) / 2 for update in range(1, 13)])
    np.testing.assert_allclose(model.get_weights()[0], [[weight]], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("learning_rate", value) for value in (0, -1, math.nan, "0.1")),
        *(("updates_per_epoch", value) for value in (0, -1, math.nan, None)),
        *(("curves", value) for value in ([], None, "cosine", [LinearWarmup(1), 0.5])),
    ],
)
def test_a_wrong_argument_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}="):
        schedule(**{name: value})


def test_one_curve_needs_no_list():
    one = CurveSchedule(1.0, PolynomialDecay(2), 1)
    assert one.curves == (PolynomialDecay(2),) and float(one(0)) == 0.25
