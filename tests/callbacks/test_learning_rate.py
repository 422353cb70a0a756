"""Tests of what all learning-rate callbacks share: optimizers they take or refuse, and how they compose."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt import callbacks, schedules
from tflbt.optimizers import LARS


def make(name, scripted_curvature):
    """A learning-rate callback that acts within four epochs."""
    if name == "Warmup":
        return callbacks.Warmup(2)
    if name == "StepDecay":
        return callbacks.StepDecay([2], 0.5)
    if name == "RateCurve":
        return callbacks.RateCurve(schedules.PolynomialDecay(8, power=1))
    schedule = callbacks.TwoPhaseSchedule(
        patience=1, extra_fraction=0, monitor="scripted", curvature_data=([0], [0])
    )
    schedule.curvature = scripted_curvature([1.0, 2.0, 3.0, 4.0])
    return schedule


SCHEDULE = tf.keras.optimizers.schedules.CosineDecay(0.1, 100)
LOSSES = [1.0, 1.0, 2.0, 3.0]
EXPECTED = {  # factors of 2 updates an epoch
    "Warmup": [0.25, 0.5, 0.75, 1, 1, 1, 1, 1],
    "StepDecay": [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5],
    "RateCurve": [15 / 16, 14 / 16, 13 / 16, 12 / 16, 11 / 16, 10 / 16, 9 / 16, 8 / 16],
    "TwoPhaseSchedule": [1, 1, 1, 1, 1, 1, 0.5, 0.5],
}
PRODUCT = np.prod(list(EXPECTED.values()), axis=0)
each = pytest.mark.parametrize("name", EXPECTED)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: tf.keras.optimizers.SGD(SCHEDULE),
        lambda: LARS(SCHEDULE),
        lambda: tf.keras.optimizers.legacy.Adam(SCHEDULE),
        lambda: tf.keras.mixed_precision.LossScaleOptimizer(tf.keras.optimizers.SGD(SCHEDULE)),
    ],
    ids=["SGD", "LARS", "legacy.Adam", "LossScaleOptimizer"],
)
def test_an_optimizer_built_with_a_schedule_is_refused(
    optimizer, data, make_model, scripted_curvature
):
    model = make_model(optimizer())
    for name in EXPECTED:
        with pytest.raises(
            ValueError, match=f"^{name} sets the learning rate.*CosineDecay.*Give .* a float"
        ):
            model.fit(*data, verbose=0, callbacks=[make(name, scripted_curvature)])
    assert int(model.optimizer.iterations) == 0


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: tf.keras.optimizers.SGD(0.1, momentum=0.9),
        lambda: tf.keras.optimizers.AdamW(0.1),
        lambda: LARS(0.1),
        lambda: tf.keras.optimizers.legacy.SGD(0.1),
        lambda: tf.keras.optimizers.legacy.Adam(0.1),
        lambda: tf.keras.mixed_precision.LossScaleOptimizer(tf.keras.optimizers.SGD(0.1)),
        lambda: tf.keras.mixed_precision.LossScaleOptimizer(tf.keras.optimizers.legacy.SGD(0.1)),
    ],
    ids=[
        "SGD",
        "AdamW",
        "LARS",
        "legacy.SGD",
        "legacy.Adam",
        "LossScale(SGD)",
        "LossScale(legacy.SGD)",
    ],
)
def test_every_kind_of_optimizer_gets_the_rate(
    optimizer, data, make_model, script, scripted_curvature, rates
):
    """From all callbacks at once, each of which changes the product at updates of its own."""
    model = make_model(optimizer())
    made = [make(name, scripted_curvature) for name in EXPECTED]
    model.fit(*data, batch_size=16, epochs=4, verbose=0, callbacks=[script(LOSSES), *made, rates])
    np.testing.assert_allclose(rates.rates, 0.1 * PRODUCT, rtol=1e-6)


@each
def test_each_alone_has_its_factors(name, data, make_model, script, scripted_curvature, rates):
    model, callback = make_model(tf.keras.optimizers.SGD(0.1)), make(name, scripted_curvature)
    model.fit(
        *data, batch_size=16, epochs=4, verbose=0, callbacks=[script(LOSSES), callback, rates]
    )
    np.testing.assert_allclose(rates.rates, 0.1 * np.array(EXPECTED[name]), rtol=1e-6)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_factors_multiply_in_any_order(order, data, make_model, script, scripted_curvature, rates):
    made = [make(name, scripted_curvature) for name in EXPECTED]
    model = make_model(tf.keras.optimizers.SGD(0.1))
    chosen = [made[i] for i in order]
    model.fit(*data, batch_size=16, epochs=4, verbose=0, callbacks=[script(LOSSES), *chosen, rates])
    np.testing.assert_allclose(rates.rates, 0.1 * PRODUCT, rtol=1e-6)


def test_a_decay_inside_the_warmup_is_no_jump(data, make_model, script, scripted_curvature, rates):
    """Five epochs of warm-up; the two-phase schedule decays after the third."""
    schedule = make("TwoPhaseSchedule", scripted_curvature)
    model = make_model(tf.keras.optimizers.SGD(0.1))
    chosen = [callbacks.Warmup(5), schedule, rates]
    model.fit(*data, batch_size=16, epochs=4, verbose=0, callbacks=[script(LOSSES), *chosen])
    warmup = np.arange(1, 9) / 10
    np.testing.assert_allclose(rates.rates, 0.1 * warmup * EXPECTED["TwoPhaseSchedule"], rtol=1e-6)


def test_a_rate_assigned_by_somebody_else_is_the_new_base(
    data, make_model, script, scripted_curvature, rates
):
    def assign(epoch, logs):
        if epoch == 1:  # in the middle of the warm-up, whose factor is 0.5 there
            model.optimizer.learning_rate = 0.3

    model = make_model(tf.keras.optimizers.SGD(0.1))
    chosen = [callbacks.Warmup(2), make("TwoPhaseSchedule", scripted_curvature)]
    other = tf.keras.callbacks.LambdaCallback(on_epoch_begin=assign)
    model.fit(
        *data, batch_size=16, epochs=4, verbose=0, callbacks=[script(LOSSES), *chosen, other, rates]
    )
    expected = [0.025, 0.05, 0.45, 0.6, 0.6, 0.6, 0.3, 0.3]
    np.testing.assert_allclose(rates.rates, expected, rtol=1e-6)


def test_keras_own_plateau_callback_composes(data, make_model, script, scripted_curvature, rates):
    reduce = tf.keras.callbacks.ReduceLROnPlateau("scripted", factor=0.1, patience=1, min_delta=0)
    model = make_model(tf.keras.optimizers.SGD(0.1))
    chosen = [make("TwoPhaseSchedule", scripted_curvature), reduce]
    model.fit(*data, batch_size=32, epochs=4, verbose=0, callbacks=[script(LOSSES), *chosen, rates])
    np.testing.assert_allclose(rates.rates, [0.1, 0.1, 0.01, 0.0005], rtol=1e-5)


def test_an_optimizer_compiled_anew_begins_with_its_own_rate(data, make_model, rates):
    warmup, model = callbacks.Warmup(2), make_model(tf.keras.optimizers.SGD(0.1))
    for rate in (0.1, 0.7):
        model.compile(tf.keras.optimizers.SGD(rate), "mse")
        model.fit(*data, batch_size=32, epochs=2, verbose=0, callbacks=[warmup, rates])
    np.testing.assert_allclose(rates.rates, [0.05, 0.1, 0.35, 0.7], rtol=1e-6)
