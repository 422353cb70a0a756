"""Tests of curves as a callback: every update's factor, whatever an update is, and with other callbacks."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from tflbt import LargeBatchModel, schedules
from tflbt.callbacks import RateCurve, StepDecay, TwoPhaseSchedule, Warmup

CURVES = [
    schedules.LinearWarmup(2),
    schedules.PolynomialDecay(4, 1.5, 0.1, begin=1),
    schedules.CosineDecay(4),
    schedules.CosineDecay(4, begin=1, grain="epoch"),
    schedules.Cyclical(1.5, 0.2),
    schedules.StepDecay((1, 2.5)),
]
each = pytest.mark.parametrize("curve", CURVES, ids=str)


def fit(model, data, *chosen, **options):
    model.fit(*data, verbose=0, callbacks=list(chosen), **options)


@each
@pytest.mark.parametrize("cls", [tf.keras.Model, LargeBatchModel])
def test_every_update_has_its_factor(curve, cls, data, make_model, rates):
    model = make_model(tf.keras.optimizers.SGD(0.1), cls=cls)
    fit(model, data, RateCurve(curve), rates, batch_size=8, epochs=4)
    done = np.arange(1, 17) / 4
    np.testing.assert_allclose(rates.rates, 0.1 * curve.at(done), rtol=1e-6, atol=1e-9)


def test_the_schedule_and_the_callback_give_the_same_weights(data, make_model):
    curves = [schedules.CosineWarmup(1), schedules.CosineDecay(3, begin=1)]
    as_callback = make_model(tf.keras.optimizers.SGD(0.01, momentum=0.9))
    fit(as_callback, data, RateCurve(curves), batch_size=8, epochs=3, shuffle=False)
    rate = schedules.CurveSchedule(0.01, curves, updates_per_epoch=4)
    as_schedule = make_model(tf.keras.optimizers.SGD(rate, momentum=0.9))
    fit(as_schedule, data, batch_size=8, epochs=3, shuffle=False)
    for a, b in zip(as_callback.get_weights(), as_schedule.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def growing(model, sizes):
    """Gives each epoch its batch size."""

    def grow(epoch, logs):
        model.batch_size = sizes[min(epoch + 1, len(sizes) - 1)]

    return tf.keras.callbacks.LambdaCallback(on_epoch_end=grow)


@each
def test_the_factor_depends_on_epochs_only_when_the_batch_changes(curve, data, make_model, rates):
    """Batches of 8, 16, 32 and 8 again: 4, 2, 1 and 4 updates."""
    model = make_model(tf.keras.optimizers.SGD(0.1), cls=LargeBatchModel)
    growth = growing(model, [8, 16, 32, 8])
    fit(model, data, RateCurve(curve), rates, growth, batch_size=8, sub_batch_size=4, epochs=4)
    done = np.array([0.25, 0.5, 0.75, 1, 1.5, 2, 3, 3.25, 3.5, 3.75, 4])
    np.testing.assert_allclose(rates.rates, 0.1 * curve.at(done), rtol=1e-6, atol=1e-9)


def test_updates_are_counted_as_updates_when_the_batch_changes(data, make_model, rates):
    curve = schedules.LinearWarmup(20)
    model = make_model(tf.keras.optimizers.SGD(0.1), cls=LargeBatchModel)
    callback, growth = RateCurve(curve, unit="updates"), growing(model, [8, 16, 32])
    fit(model, data, callback, rates, growth, batch_size=8, sub_batch_size=4, epochs=4)
    np.testing.assert_allclose(rates.rates, 0.1 * np.arange(1, 9) / 20, rtol=1e-6)


def test_updates_that_keras_executes_at_once_are_all_counted(data, make_model, rates):
    """Three at once at the rate of the last; the last execution of an epoch is one update."""
    model = make_model()
    model.compile(tf.keras.optimizers.SGD(0.1), "mse", steps_per_execution=3)
    callback = RateCurve(schedules.LinearWarmup(10), unit="updates")
    fit(model, data, callback, rates, batch_size=8, epochs=2)
    np.testing.assert_allclose(rates.rates, 0.1 * np.array([3, 4, 7, 8]) / 10, rtol=1e-6)


@pytest.mark.parametrize("unit", ["epochs", "updates"])
def test_a_second_fit_begins_anew_and_a_later_initial_epoch_goes_on(unit, data, make_model, rates):
    length = 4 if unit == "epochs" else 8
    curve = RateCurve(schedules.PolynomialDecay(length, power=1), unit)
    model = make_model(tf.keras.optimizers.SGD(0.1))
    fit(model, data, curve, rates, batch_size=16, epochs=1)
    fit(model, data, curve, rates, batch_size=16, epochs=2)
    fit(model, data, curve, rates, batch_size=16, epochs=4, initial_epoch=2)
    left = np.array([7, 6, 7, 6, 5, 4, 3, 2, 1, 0]) / 8
    np.testing.assert_allclose(rates.rates, 0.1 * left, rtol=1e-6, atol=1e-9)


def test_a_resumed_second_fit_counts_updates_from_where_that_began(data, make_model, rates):
    """The optimizer's own count began with the first fit."""
    model = make_model(tf.keras.optimizers.SGD(0.1))
    curve = RateCurve(schedules.LinearWarmup(8), "updates")
    for epochs in (3, 1):
        fit(model, data, curve, batch_size=16, epochs=epochs)
    state = json.loads(json.dumps(curve.state()))
    again = RateCurve(schedules.LinearWarmup(8), "updates")
    again.restore(state)
    fit(model, data, again, rates, batch_size=16, epochs=2, initial_epoch=1)
    np.testing.assert_allclose(rates.rates, 0.1 * np.array([3, 4]) / 8, rtol=1e-6)


def test_another_curve_takes_the_place_of_one_that_ended_at_zero(data, make_model, rates):
    model = make_model(tf.keras.optimizers.SGD(0.1))
    for curve in (schedules.PolynomialDecay(2), schedules.LinearWarmup(2)):
        fit(model, data, RateCurve(curve), rates, batch_size=32, epochs=2)
    np.testing.assert_allclose(rates.rates, [0.025, 0, 0.05, 0.1], rtol=1e-6, atol=1e-12)


def test_rates_below_what_float32_can_hold_do_not_move_the_base(data, make_model, rates):
    """0.25^70 is 7e-43, which float32 rounds by percents or to 0."""
    model = make_model(tf.keras.optimizers.SGD(0.1))
    for _ in range(2):
        fit(model, data, RateCurve(schedules.PolynomialDecay(1, 70)), rates, batch_size=8)
    np.testing.assert_allclose(rates.rates[:4], rates.rates[4:], rtol=1e-6)
    assert rates.rates[4] == pytest.approx(0.1 * 0.75**70, rel=1e-5)


def test_it_composes_with_every_other_callback(data, make_model, script, scripted_curvature, rates):
    """Warm-up over 1 epoch, cosine from there to 4, steps after 2, and the two-phase schedule after 3."""
    two_phase = TwoPhaseSchedule(
        patience=1, extra_fraction=0, monitor="scripted", curvature_data=([0], [0])
    )
    two_phase.curvature = scripted_curvature([1.0, 2.0, 3.0, 4.0])
    cosine = schedules.CosineDecay(5, begin=1)
    chosen = [two_phase, RateCurve(cosine), StepDecay([2]), Warmup(1, shape="cosine")]
    model = make_model(tf.keras.optimizers.SGD(0.1))
    watched = [script([1.0, 1.0, 2.0, 3.0]), *chosen, rates]
    fit(model, data, *watched, batch_size=16, epochs=4)
    warm = [0.5, 1, 1, 1, 1, 1, 1, 1]
    wave = [1 if e <= 1 else (1 + math.cos(math.pi * (e - 1) / 4)) / 2 for e in np.arange(1, 9) / 2]
    step = [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1]
    phase = [1, 1, 1, 1, 1, 1, 0.5, 0.5]
    expected = 0.1 * np.prod([warm, wave, step, phase], axis=0)
    np.testing.assert_allclose(rates.rates, expected, rtol=1e-6)


def test_a_rate_assigned_by_somebody_else_is_the_new_peak(data, make_model, rates):
    def assign(epoch, logs):
        if epoch == 1:  # the factor was 0.5 at the last update
            model.optimizer.learning_rate = 0.2

    model = make_model(tf.keras.optimizers.SGD(0.1))
    curve = RateCurve(schedules.PolynomialDecay(2, power=1))
    other = tf.keras.callbacks.LambdaCallback(on_epoch_begin=assign)
    fit(model, data, other, curve, rates, batch_size=16, epochs=2)
    np.testing.assert_allclose(rates.rates, [0.075, 0.05, 0.1, 0], rtol=1e-6, atol=1e-9)


def endless(x, y):
    def generate():
        while True:
            yield x[:8], y[:8]

    spec = (tf.TensorSpec([8, 4]), tf.TensorSpec([8, 1]))
    return tf.data.Dataset.from_generator(generate, output_signature=spec)


def test_the_length_of_an_epoch_must_be_known_where_it_is_needed(data, make_model, rates):
    unknown = endless(*data).take(2)
    fine = schedules.CosineDecay(2)
    with pytest.raises(ValueError, match="RateCurve needs the number of steps.*steps_per_epoch"):
        make_model().fit(unknown, epochs=2, verbose=0, callbacks=[RateCurve(fine)])
    coarse = RateCurve(schedules.CosineDecay(2, grain="epoch"))
    count = RateCurve(schedules.PolynomialDecay(8, 1), unit="updates", owner="count")
    model = make_model(tf.keras.optimizers.SGD(0.1), fresh=True)
    model.fit(unknown, epochs=2, verbose=0, callbacks=[coarse, count, rates])
    expected = 0.1 * np.array([7, 6, 5 / 2, 4 / 2]) / 8
    np.testing.assert_allclose(rates.rates, expected, rtol=1e-6)


def test_two_of_one_owner_are_told(data, make_model, rates):
    two = [RateCurve(schedules.LinearWarmup(2)), RateCurve(schedules.CosineDecay(4))]
    with pytest.raises(ValueError, match="^owner='curve' is the name of two callbacks"):
        fit(make_model(), data, *two, batch_size=8)
    two[0] = RateCurve(schedules.LinearWarmup(2), owner="warmup")
    model = make_model(tf.keras.optimizers.SGD(0.1))
    fit(model, data, *two, rates, batch_size=32)
    np.testing.assert_allclose(rates.rates, 0.1 * 0.5 * (1 + math.sqrt(0.5)) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"), [("curves", []), ("curves", 0.5), ("unit", "steps"), ("unit", None)]
)
def test_a_wrong_argument_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}="):
        RateCurve(**{"curves": schedules.LinearWarmup(1), name: value})
