"""The contract of every curve that tflbt exports: one table, the same tests for each row."""

from __future__ import annotations

import inspect
import json
import math
import pickle

import numpy as np
import pytest
import tensorflow as tf

from tflbt import schedules

EPOCHS = np.arange(0, 2001) / 100  # 100 updates an epoch


def curves_exported():
    exports = {name: getattr(schedules, name) for name in schedules.__all__}
    return {
        name
        for name, cls in exports.items()
        if inspect.isclass(cls) and issubclass(cls, schedules.Curve) and cls is not schedules.Curve
    }


def test_every_export_has_rows_in_the_table(cases):
    assert {case.curve for case in cases} == curves_exported()


def test_every_update_equals_the_oracle(case):
    curve = case.make()
    expected = [case.oracle(float(e), **case.arguments) for e in EPOCHS]
    found = [curve.at(float(e)) for e in EPOCHS]
    assert all(type(factor) is float for factor in found)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_numbers_arrays_tensors_and_graphs_agree(case):
    curve = case.make()
    one_by_one = np.array([curve.at(float(e)) for e in EPOCHS])
    np.testing.assert_allclose(curve.at(EPOCHS), one_by_one, rtol=1e-14, atol=1e-300)
    epochs = tf.constant(EPOCHS)
    compiled = tf.function(curve.at)
    for tensor in (curve.at(epochs), compiled(epochs)):
        assert tensor.dtype == tf.float64
        np.testing.assert_allclose(tensor, one_by_one, rtol=1e-12, atol=1e-15)
    assert compiled.experimental_get_tracing_count() == 1
    scalar = curve.at(tf.constant(3.0, tf.float32))
    assert scalar.dtype == tf.float32 and scalar.shape == []
    assert float(scalar) == np.float32(curve.at(3.0))
    whole = curve.at(tf.constant(3))
    assert whole.dtype == tf.float32 and float(whole) == np.float32(curve.at(3))


def test_xla_agrees(case):
    curve = case.make()
    compiled = tf.function(curve.at, jit_compile=True)
    np.testing.assert_allclose(
        compiled(tf.constant(EPOCHS)), curve.at(EPOCHS), rtol=1e-9, atol=1e-12
    )


def test_it_begins_and_ends_where_it_says(case):
    curve = case.make()
    assert curve.at(0) == pytest.approx(case.starts_at, abs=1e-15)
    begin = case.arguments.get("begin", 0)
    if "Warmup" not in case.curve:
        assert curve.at(begin) == 1.0  # exactly
    if case.ends_at is not None:
        assert curve.at(1000) == pytest.approx(case.ends_at, rel=1e-12)
        if case.smooth:
            assert curve.at(case.arguments["epochs"]) == curve.at(1000)
    if "Warmup" in case.curve:
        assert curve.at(case.arguments["epochs"]) == 1.0  # exactly


def test_it_stays_within_its_bounds_and_keeps_its_direction(case):
    factors = case.make().at(EPOCHS)
    assert factors.max() <= 1.0 and factors.min() >= case.lowest - 1e-15
    assert case.direction * np.diff(factors).min() >= 0 or case.direction <= 0
    assert case.direction * np.diff(factors).max() >= 0 or case.direction >= 0
    if not case.direction:
        assert factors.min() == pytest.approx(case.lowest, abs=1e-4)  # and goes up again
        assert np.diff(factors).min() < 0 < np.diff(factors).max()


def test_by_epoch_tells_whether_an_epoch_has_one_factor(case):
    curve = case.make()
    epochs = curve.at(EPOCHS[1:]).reshape(20, 100)
    assert curve.by_epoch == (not case.smooth and (epochs == epochs[:, :1]).all())


def test_config_goes_through_json_and_back(case):
    curve = case.make()
    config = json.loads(json.dumps(curve.get_config()))
    again = type(curve).from_config(config)
    assert again == curve and repr(again).startswith(f"{case.curve}(")
    for name, value in case.arguments.items():
        assert config[name] == (list(value) if isinstance(value, tuple) else value)


def test_keras_registry_serialises(case):
    saved = json.loads(json.dumps(tf.keras.saving.serialize_keras_object(case.make())))
    assert saved["registered_name"] == f"tflbt>{case.curve}"
    assert tf.keras.saving.deserialize_keras_object(saved) == case.make()


def test_numpys_numbers_are_taken_and_go_into_json(case):
    arguments = {
        name: np.float64(value) if isinstance(value, (int, float)) else value
        for name, value in case.arguments.items()
    }
    curve = case.make(**arguments)
    assert json.dumps(curve.get_config()) == json.dumps(case.make().get_config())


def test_it_pickles_and_is_never_changed(case):
    curve = case.make()
    assert pickle.loads(pickle.dumps(curve)) == curve
    with pytest.raises(AttributeError):
        curve.begin = 3


WRONG = {
    "epochs": [0, -1, math.nan, math.inf, "5", True],
    "initial_factor": [-0.1, 1.1, math.nan, None],
    "power": [0, -1, math.nan, math.inf],
    "end_factor": [-0.1, 1.1, math.nan],
    "lowest_factor": [-0.1, 1.1, math.nan],
    "begin": [-1, math.nan, math.inf, None],
    "length": [0, -1, math.nan, math.inf],
    "grain": ["batch", None],
    "shape": ["square", None],
    "factor": [0, 1, -0.1, 10, math.nan],
}
WRONG_STEPS = [(), (0,), (-1,), (3, 2), (2, 2), 150, (1, math.nan), (1, math.inf), ("1",), None]


def test_wrong_arguments_are_named(case):
    for name in inspect.signature(type(case.make())).parameters:
        wrong = WRONG_STEPS if (case.curve, name) == ("StepDecay", "epochs") else WRONG[name]
        for value in wrong:
            with pytest.raises(ValueError, match=f"^{name}="):
                case.make(**{name: value})


@pytest.mark.parametrize("decay", ["PolynomialDecay", "CosineDecay"])
def test_a_decay_that_ends_before_it_begins_is_an_error(decay):
    with pytest.raises(
        ValueError, match="^epochs=5 must be more than begin=5: it is where .* ends"
    ):
        getattr(schedules, decay)(5, begin=5)


def test_a_curve_of_ones_own_without_a_formula_says_so():
    class Mine(schedules.Curve):
        pass

    with pytest.raises(NotImplementedError, match="Mine has no formula"):
        Mine().at(1)
