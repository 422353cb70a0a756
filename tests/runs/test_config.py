"""The configuration as plain values, and what differs between two."""

from __future__ import annotations

import ml_collections
import numpy as np
import pytest

from tflbt.runs.config import as_plain, differences, flatten, without_numpy


def test_config_dict_and_tuples_become_plain():
    config = ml_collections.ConfigDict({"epochs": 3, "model": {"stages": (1, 2)}})
    assert as_plain(config) == {"epochs": 3, "model": {"stages": [1, 2]}}


def test_a_value_without_json_form_names_its_key():
    with pytest.raises(ValueError, match=r"config\.model\.init = <object"):
        as_plain({"model": {"init": object()}})


def test_flatten_keeps_empty_dictionaries():
    assert flatten({"a": {}, "b": {"c": {"d": None}}}) == {"a": {}, "b.c.d": None}


def test_differences_name_key_old_and_new_value():
    before = {"seed": 0, "model": {"depth": 20, "old": "x"}}
    now = {"seed": 0, "model": {"depth": 20.5}, "new": None}
    assert differences(before, now) == [
        "model.depth was 20, is now 20.5",
        'model.old was "x", is now (not set)',
        "new was (not set), is now null",
    ]


def test_keys_that_may_differ_are_not_looked_at():
    assert differences({"a": 1}, {"a": 2}, may_differ=["a"]) == []


def test_not_a_number_is_no_difference():
    nan = float("nan")
    assert differences({"a": nan}, {"a": nan}) == []


def test_numpy_numbers_become_pythons_and_the_rest_stays():
    values = [np.float32(0.5), np.int64(3), np.bool_(True), np.array(2.0)]
    assert [type(without_numpy(value)) for value in values] == [float, int, bool, float]
    array = np.zeros(2)
    assert without_numpy(array) is array and without_numpy("a") == "a"
