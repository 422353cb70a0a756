"""Tests of what callbacks measure curvature on, arrays or a function, and of options that are refused early."""

from __future__ import annotations

import numpy as np
import pytest

from tests.callbacks.conftest import as_new
from tflbt import LargeBatchModel, callbacks

MEASURING = {
    "AdaptiveBatchSize": lambda data, **options: callbacks.AdaptiveBatchSize(
        32, kappa=1, **{"curvature_data": data, **options}
    ),
    "CurvatureMonitor": lambda data, **options: callbacks.CurvatureMonitor(data, **options),
    "StabilityMonitor": lambda data, **options: callbacks.StabilityMonitor(data, **options),
    "TwoPhaseSchedule": lambda data, **options: callbacks.TwoPhaseSchedule(
        curvature_data=data, measure_exploration=True, **options
    ),
}
each = pytest.mark.parametrize("name", MEASURING)


@each
def test_a_function_is_called_once_at_the_start_of_each_fit(name, data, make_model):
    calls = []

    def read():
        calls.append(len(calls))
        return data

    model = make_model(cls=LargeBatchModel)
    weights = model.get_weights()

    def train(source):
        as_new(model, weights, 0.01)
        callback = MEASURING[name](source)
        assert not calls
        histories = [
            model.fit(
                *data, batch_size=8, sub_batch_size=8, epochs=2, verbose=0, callbacks=[callback]
            ).history
            for _ in range(2)
        ]
        return [h.get("eigenvalue", h.get("stability_eigenvalue")) for h in histories]

    from_arrays = train(data)
    assert np.isfinite(from_arrays[0][0])
    assert train(read) == from_arrays
    assert len(calls) == 2


@each
@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (None, r"^curvature_data=a function that returned NoneType must be \(x, y\)"),
        ((np.zeros([3, 4]),), "^curvature_data=a function that returned tuple must be"),
        ((np.zeros([3, 4]), np.zeros([2, 1])), "^curvature_data: .*numbers of samples"),
    ],
)
def test_a_function_that_returns_something_else_is_named(name, returned, says, data, make_model):
    callback = MEASURING[name](lambda: returned)
    model = make_model(cls=LargeBatchModel)
    with pytest.raises(ValueError, match=says):
        model.fit(*data, batch_size=8, verbose=0, callbacks=[callback])
    assert int(model.optimizer.iterations) == 0


WRONG = {
    "iterations": [0, 2.5, "10", None],
    "tolerance": [0.0, -1, np.nan],
    "seed": [-1, 0.5],
    "sub_batch_size": [0, 1.5],
    "method": ["nonsense", None],
    "layers": ["last_0", (), 2],
}
OPTIONS = {
    "AdaptiveBatchSize": set(WRONG),
    "CurvatureMonitor": set(WRONG),
    "StabilityMonitor": set(WRONG) - {"method"},
    "TwoPhaseSchedule": set(WRONG) - {"layers", "tolerance"},
}


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name in OPTIONS for option in sorted(OPTIONS[name])]
)
def test_options_that_cannot_be_are_refused_by_the_constructor(name, option):
    for value in WRONG[option]:
        with pytest.raises(ValueError, match=f"^{option}="):
            MEASURING[name](lambda: None, **{option: value})


def test_finite_differences_of_other_layers_are_refused_by_the_constructor():
    for layers in ("all", "last_2", ["dense"]):
        with pytest.raises(ValueError, match='^method=.finite_difference. .* layers="output" only'):
            callbacks.AdaptiveBatchSize(
                8, curvature_data=lambda: None, layers=layers, method="finite_difference"
            )
