"""Tests of the two-phase schedule in `fit`: when it measures, switches, decays, and what it says."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import tensorflow as tf
from absl import logging as absl_logging

from tflbt import LargeBatchModel
from tflbt.callbacks import TwoPhaseSchedule
from tflbt.control import Plateau, TwoPhase
from tflbt.curvature import top_eigenvalue


@pytest.fixture
def scripted(make_model, data, script, scripted_curvature, rates):
    """Runs a schedule on given losses and eigenvalues; returns it, the rates and the history."""

    def run(losses, eigenvalues, rate=0.1, fits=((0, None),), **options):
        schedule = TwoPhaseSchedule(
            curvature_data=data, monitor="scripted", **{"patience": 1, **options}
        )
        schedule.curvature = scripted_curvature(eigenvalues)
        model = make_model(tf.keras.optimizers.SGD(rate))
        for begin, end in fits:
            history = model.fit(
                *data, batch_size=32, epochs=end or len(losses), initial_epoch=begin, verbose=0,
                callbacks=[script(losses), schedule, rates],
            )  # fmt: skip
        return schedule, rates.rates, history.history

    return run


LOSSES, EIGENVALUES = [1.0, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9], [1.0, 2.0, 3.0, 4.0]


def test_switch_and_decays_at_the_right_epochs(scripted):
    """Plateau at epoch 3, one extra epoch, switch at 4; a decay after 5, a record at 6, a decay after 7."""
    schedule, rates, history = scripted(LOSSES, EIGENVALUES)
    assert (schedule.phase, schedule.switch_epoch, schedule.decays) == ("convergence", 4, 2)
    np.testing.assert_allclose(rates, [0.1] * 5 + [0.05] * 2, rtol=1e-6)
    np.testing.assert_allclose(history["learning_rate"], rates, rtol=1e-6)
    assert history["eigenvalue"] == EIGENVALUES  # from the switch on
    assert schedule.epoch_columns()["eigenvalue"] == 4.0


def test_exploration_is_measured_if_asked_and_once_an_epoch(scripted):
    schedule, _, history = scripted(LOSSES, list(range(1, 8)), measure_exploration=True)
    assert schedule.curvature.asked == 7
    assert len(history["eigenvalue"]) == 7


def test_beta_is_the_factor(scripted):
    assert scripted(LOSSES, EIGENVALUES, beta=0.3)[1][-1] == pytest.approx(0.03)


def test_the_rate_is_never_decayed_below_its_floor(scripted):
    losses, eigenvalues = [1.0, 1.0, *range(2, 20)], [*range(1, 20)]
    schedule, rates, _ = scripted(losses, eigenvalues, extra_fraction=0, min_learning_rate=0.03)
    assert min(rates) == pytest.approx(0.03)
    assert rates[-1] == min(rates)
    assert schedule.decays == 9


def test_a_rate_below_the_floor_is_not_raised(scripted):
    assert set(scripted(LOSSES, EIGENVALUES, min_learning_rate=0.5)[1]) == {float(np.float32(0.1))}


@pytest.mark.parametrize(("epochs", "patience"), [(5, 1), (21, 2), (40, 2)])
def test_patience_is_five_percent_of_the_epochs_of_fit(scripted, epochs, patience):
    schedule, _, _ = scripted([1.0] * epochs, [1.0] * epochs, patience=None)
    assert schedule.switch_epoch == (1 + patience) + math.ceil((1 + patience) / 3)


def test_a_second_fit_starts_over_from_the_rate_left(scripted):
    schedule, rates, _ = scripted(LOSSES, EIGENVALUES * 2, fits=[(0, None), (0, None)])
    np.testing.assert_allclose(rates[7:], [0.025] * 5 + [0.0125] * 2, rtol=1e-6)
    assert (schedule.switch_epoch, schedule.decays) == (4, 2)


@pytest.mark.parametrize("cut", [2, 3, 4, 5, 6])
def test_a_later_initial_epoch_goes_on(scripted, cut):
    schedule, rates, _ = scripted(LOSSES, EIGENVALUES, fits=[(0, cut), (cut, None)])
    np.testing.assert_allclose(rates, [0.1] * 5 + [0.05] * 2, rtol=1e-6)
    assert (schedule.switch_epoch, schedule.decays) == (4, 2)


def test_decisions_are_logged(scripted, caplog):
    absl_logging.get_absl_logger().propagate = True
    before = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.INFO)
    try:
        with caplog.at_level(logging.INFO):
            scripted(LOSSES, EIGENVALUES)
    finally:
        absl_logging.set_verbosity(before)
    said = [record.getMessage() for record in caplog.records if "two-phase" in record.getMessage()]
    assert said == [
        "rank 0: two-phase, end of epoch 4: switches to the convergence phase",
        "rank 0: two-phase, end of epoch 5: decays the learning rate to 0.05",
        "rank 0: two-phase, end of epoch 7: decays the learning rate to 0.025",
    ]


@pytest.mark.parametrize("cls", [tf.keras.Model, LargeBatchModel])
def test_real_losses_and_eigenvalues_give_what_algorithm_1_says(cls, data, make_model):
    """Decisions from the history alone, by `TwoPhase`, and eigenvalues measured a second time."""
    x, y = data
    model = make_model(tf.keras.optimizers.SGD(0.065), cls=cls)
    schedule = TwoPhaseSchedule(
        patience=1, extra_fraction=0, curvature_data=data, measure_exploration=True
    )
    measured = []
    note = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: measured.append(top_eigenvalue(model, x, y).eigenvalue)
    )
    options = {"batch_size": 8, "epochs": 10, "shuffle": False, "verbose": 0}
    history = model.fit(x, y, callbacks=[schedule, note], **options).history
    np.testing.assert_allclose(history["eigenvalue"], measured, rtol=1e-5)
    machine, rate = TwoPhase(Plateau(1), 0), np.float32(0.065)
    for loss, eigenvalue, logged in zip(
        history["loss"], history["eigenvalue"], history["learning_rate"]
    ):
        assert logged == pytest.approx(rate)
        rate *= 0.5 if machine.end_of_epoch(loss, lambda e=eigenvalue: e).decay else 1
    assert machine.phase == schedule.phase == "convergence"
    assert machine.decays == schedule.decays


def test_measuring_leaves_weights_and_optimizer_alone(data, make_model):
    plain, measured = make_model(), make_model()
    schedule = TwoPhaseSchedule(patience=100, curvature_data=data, measure_exploration=True)
    plain.fit(*data, epochs=2, verbose=0, shuffle=False)
    measured.fit(*data, epochs=2, verbose=0, shuffle=False, callbacks=[schedule])
    for a, b in zip(plain.get_weights(), measured.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_the_models_sub_batch_size_is_used_for_measuring(data, make_model):
    schedule = TwoPhaseSchedule(curvature_data=data)
    make_model(cls=LargeBatchModel).fit(
        *data, batch_size=8, sub_batch_size=2, verbose=0, callbacks=[schedule]
    )
    assert schedule.curvature.options["sub_batch_size"] == 2


def test_the_row_tells_the_phase(scripted):
    columns = scripted([1.0], [])[0].epoch_columns()
    assert (columns["phase"], columns["decays"], columns["eigenvalue"]) == ("exploration", 0, None)


def test_an_unknown_monitor_names_what_there_is(data, make_model):
    schedule = TwoPhaseSchedule(curvature_data=data, monitor="lost")
    with pytest.raises(ValueError, match=r"monitor='lost' is not logged; there are \['loss'\]"):
        make_model().fit(*data, verbose=0, callbacks=[schedule])


def test_missing_curvature_data_says_what_would_do():
    with pytest.raises(ValueError, match=r"curvature_data=.* must be \(x, y\)"):
        TwoPhaseSchedule()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beta", 0), ("beta", 1), ("beta", math.nan), ("patience", 0), ("patience", -1), ("patience", 1.5),
        ("extra_fraction", -1), ("min_delta", -1), ("min_learning_rate", -1), ("min_learning_rate", math.nan),
        ("curvature_data", 5), ("curvature_data", [1]), ("curvature_data", "xy...."),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named(name, value, data):
    with pytest.raises(ValueError, match=f"^{name}="):
        TwoPhaseSchedule(**{"curvature_data": data, name: value})
